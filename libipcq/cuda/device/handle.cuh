// Processes one message with a team of threads: an inline message by the eight lanes of its line, a message in a slot
// by one block or several. The executors (worker.cuh, stream.cuh) choose the team.
//
// Each thread of a team calls a *_share() function once. Invariant: finish_message(), which publishes the `out` line,
// is called by one thread, after all shares are done and visible to it.
#pragma once

#include "device/call.cuh"

namespace ipcq::device {

// What a handler that is not plain has made of a message in its line.
__device__ inline void apply(LaneLine& l, const CallResult& result) {
  const detail::Verdict verdict = detail::verdict_of(result.outcome);
  l.length = result.length;
  l.used = first_units(kInlineUnit) | first_units((l.length + kUnitBytes - 1) / kUnitBytes) << l.data_unit;
  if (l.unit != 0) return;
  const std::uint32_t head = l.mine.word[0] & ~std::uint32_t{HeadBits::Priority::kMask};
  l.mine.word[0] = head | verdict.flags << HeadBits::Flags::kShift | verdict.code << HeadBits::Priority::kShift;
  l.mine.word[1] = l.length;
}

// Processes those of the warp's four lines whose lanes have `mine`, and writes their `out` lines: inline messages as
// the handler leaves them, all others as tombstones. Called by all lanes of the warp. `buffer`: kWarpLines x
// kInlineBuffer bytes of shared memory. The first lane of each line counts it in its own `processed`, `failed` and
// `damaged`.
template <class Handler>
__device__ void process_inlined(const QueueView& q, LaneLine& l, bool mine, std::uint8_t (*buffer)[kInlineBuffer],
                                std::uint32_t& processed, std::uint32_t& failed, std::uint32_t& damaged) {
  const unsigned which = threadIdx.x % 32 / kLineUnits;
  const bool inlined = mine && l.kind == kInlined;
  const std::uint32_t at = (l.unit - l.data_unit) * kUnitBytes;
  bool carries = inlined && l.unit >= l.data_unit && at < l.length;
  auto* words = reinterpret_cast<std::uint32_t*>(&buffer[which][carries ? at : 0]);
  if (carries) {
    for (unsigned i = 0; i < kDataWords; ++i) words[i] = l.mine.word[i];
  }
  __syncwarp();
  if constexpr (kIsPlain<Handler>) {
    if (inlined) {
      const auto& handler = Instance<Handler>::get();
      const std::uint64_t length = l.length;  // of the type that it has in all calls
      if (handlers::accepts(handler, length)) {
        handler(reinterpret_cast<std::byte*>(buffer[which]), length, Team{l.unit, kLineUnits});
      } else {
        if (l.unit == 0) {
          l.mine.word[0] |= HeadBits::Flags::put(kNotProcessed);
          ++failed;
        }
      }
    }
    __syncwarp();
  } else {
    const CallResult result = call_for_lines<Handler>(l, inlined, buffer);
    if (inlined) apply(l, result);
    carries = inlined && l.unit >= l.data_unit && at < l.length;
    words = reinterpret_cast<std::uint32_t*>(&buffer[which][carries ? at : 0]);
    failed += inlined && l.unit == 0 && (detail::verdict_of(result.outcome).flags & kNotProcessed) != 0;
  }
  if (carries) {
    for (unsigned i = 0; i < kDataWords; ++i) l.mine.word[i] = words[i];
  }
  if (mine && l.unit == 0) {
    processed += inlined;
    damaged += l.kind == kNoKind;
  }
  if (mine && !inlined) bury(l);
  if (mine) write_lane(q, l);
  __syncwarp();
}

// Copies this thread's share between mirror and device memory. Rounds up to whole words, which stays within the slot:
// its stride is a multiple of kLineBytes.
template <class Load>
__device__ void copy_share(std::uint8_t* to, const std::uint8_t* from, std::uint64_t length, const Team& team,
                           Load load) {
  const std::uint64_t words = (length + sizeof(uint4) - 1) / sizeof(uint4);
  const auto* const source = reinterpret_cast<const uint4*>(from);
  auto* const target = reinterpret_cast<uint4*>(to);
  // Loads in flight per thread, to cover the latency of PCIe: 26.5 GB/s each way in bulk/1m, 7.6 in bulk/4k (gpu_bench,
  // H200, CUDA 13.0). No comparison with other values is recorded.
  constexpr unsigned kAtOnce = 8;
  std::uint64_t i = team.rank();
  for (; i + (kAtOnce - 1) * team.size() < words; i += kAtOnce * team.size()) {
    uint4 v[kAtOnce];
#pragma unroll
    for (unsigned k = 0; k < kAtOnce; ++k) v[k] = load(&source[i + k * team.size()]);
#pragma unroll
    for (unsigned k = 0; k < kAtOnce; ++k) target[i + k * team.size()] = v[k];
  }
  for (; i < words; i += team.size()) target[i] = load(&source[i]);
}

__device__ inline void pull_share(const QueueView& q, const SlotMessage& m, const Team& team) {
  copy_share(payload_of(q, m), q.mirror + m.slot * q.stride, m.length, team, load_mirror);
}
__device__ inline void push_share(const QueueView& q, const SlotMessage& m, const Team& team) {
  copy_share(q.mirror + m.slot * q.stride, payload_of(q, m), m.length, team, load_payload);
}
// Returns what the lane of rank 0 has to say of the message; of a plain handler nothing.
template <class Handler>
__device__ CallResult handle_share(const QueueView& q, const SlotMessage& m, const Team& team) {
  if constexpr (!kIsPlain<Handler>) {
    return call_for_slot<Handler>(q, m, team);
  } else {
    auto* const payload = reinterpret_cast<std::byte*>(payload_of(q, m));
    if ((m.flags & kRecords) != 0) {
      (void)detail::handle_records(payload, m.length, team,
                                   [](std::byte* data, std::uint64_t length, const Team& lanes) {
                                     return handlers::run(Instance<Handler>::get(), data, length, lanes);
                                   });
    } else {
      (void)handlers::run(Instance<Handler>::get(), payload, m.length, team);
    }
    return {};
  }
}

// Whether slot, length and mirror flag of a line, which any client can overwrite, keep the kernel within the pool.
__device__ inline bool is_sound(const QueueView& q, const SlotMessage& m) {
  return m.slot < q.slots && m.length <= q.slot_bytes && ((m.flags & kInMirror) == 0 || q.mirror != nullptr);
}

// Writes the `out` line of a message whose shares are all done and visible to this thread. Returns whether the handler
// refused the message or failed on it, or on a record of it, which the records tell and the line does not. `result` of
// a plain handler says nothing.
template <class Handler>
__device__ bool finish_message(const QueueView& q, SlotMessage m, const CallResult& result) {
  const std::uint32_t batch = m.flags & kRecords;
  bool refused = false;
  detail::Verdict verdict;
  // Read before the line is written: then the slot may be lent again.
  if (batch != 0) {
    refused = detail::has_refused_records(reinterpret_cast<std::byte*>(payload_of(q, m)), m.length);
  } else if constexpr (kIsPlain<Handler>) {
    refused = !handlers::accepts(Instance<Handler>::get(), m.length);
    verdict.flags = refused ? kNotProcessed : 0;
  } else {
    verdict = detail::verdict_of(result.outcome);
    refused = (verdict.flags & kNotProcessed) != 0;
    m.unit[0][0] = (m.unit[0][0] & ~std::uint32_t{HeadBits::Priority::kMask}) | verdict.code
                                                                                    << HeadBits::Priority::kShift;
    m.unit[0][1] = result.length;
  }
  m.flags = kPayloadReady | batch | verdict.flags | (q.host_readable ? kInMirror : 0);
  fence_system();
  write_message(q, m, kSlot);
  return refused;
}

}  // namespace ipcq::device
