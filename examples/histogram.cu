// How often each value occurs in a frame: a message of 8-bit samples becomes 256 counts.
//
// On a GPU a block loads and counts by CUB's functions for whole blocks. Only nvcc has CUB, so this handler is built
// ahead, by ipcq_add_handler() in CMakeLists.txt. The host's compiler gets a plain loop, and so does NVRTC, which
// defines
// __CUDACC__ too.
#include <ipcq/handler.hpp>

#if defined(__CUDACC__) && !defined(__CUDACC_RTC__)
#define HISTOGRAM_HAS_CUB
#include <cub/block/block_histogram.cuh>
#include <cub/block/block_load.cuh>
#endif

struct Histogram {
  static constexpr unsigned kValues = 256;
  using Sample = unsigned char;
  using Count = unsigned;

  static constexpr auto sharing = ipcq::Sharing::block;
#if defined(HISTOGRAM_HAS_CUB)
  static constexpr int kLanes = 512;       // of a team that is a whole block
  static constexpr int kLaneSamples = 16;  // at a time
  using BlockLoad = cub::BlockLoad<Sample, kLanes, kLaneSamples, cub::BLOCK_LOAD_VECTORIZE>;
  using BlockCount = cub::BlockHistogram<Sample, kLanes, kLaneSamples, kValues, cub::BLOCK_HISTO_ATOMIC>;
  struct Scratch {
    Count counts[kValues];
    BlockLoad::TempStorage load;
    BlockCount::TempStorage count;
  };
#else
  struct Scratch {
    Count counts[kValues];
  };
#endif
  static constexpr unsigned scratch_bytes = sizeof(Scratch);

  template <class Team>
  IPCQ_HOST_DEVICE void operator()(ipcq::HandlerMessage& m, Team team) const {
    const auto* const samples = reinterpret_cast<const Sample*>(m.data);
    const std::uint64_t length = m.length;
    // No room for the counts: the slots are too small, it came in its line, or it is a record.
    if (!m.resize(sizeof(Scratch::counts))) return m.fail(1);
    auto& scratch = *reinterpret_cast<Scratch*>(team.scratch());
    for (std::uint64_t i = team.rank(); i < kValues; i += team.size()) scratch.counts[i] = 0;
    team.sync();
    const std::uint64_t counted = count_tiles(scratch, samples, length, team);
    for (std::uint64_t i = counted + team.rank(); i < length; i += team.size()) count_one(scratch.counts[samples[i]]);
    team.sync();  // all samples are counted, so the counts may take their place
    const auto counts = m.elements<Count>();
    for (std::uint64_t i = team.rank(); i < kValues; i += team.size()) counts[i] = scratch.counts[i];
  }

 private:
  // Counts whole tiles, of as many samples as a block loads at once. How many samples that were.
  template <class Team>
  IPCQ_HOST_DEVICE static std::uint64_t count_tiles([[maybe_unused]] Scratch& scratch,
                                                    [[maybe_unused]] const Sample* samples,
                                                    [[maybe_unused]] std::uint64_t length, [[maybe_unused]] Team team) {
    std::uint64_t counted = 0;
#if defined(HISTOGRAM_HAS_CUB) && defined(__CUDA_ARCH__)
    constexpr std::uint64_t kTile = kLanes * kLaneSamples;
    if (team.size() != kLanes) return 0;  // a warp, for a message in a long line
    for (; length - counted >= kTile; counted += kTile) {
      Sample mine[kLaneSamples];
      BlockLoad(scratch.load).Load(samples + counted, mine);
      BlockCount(scratch.count).Composite(mine, scratch.counts);
      team.sync();  // before the next tile has CUB's scratch memory
    }
#endif
    return counted;
  }
  IPCQ_HOST_DEVICE static void count_one(Count& count) {
#if defined(__CUDA_ARCH__)
    atomicAdd(&count, 1);
#else
    ++count;
#endif
  }
};
IPCQ_HANDLER(Histogram)
