// Processes one message with a team of threads: an inline message by the eight lanes of its line, a message in a slot
// by one block or several. The executors (worker.cuh, stream.cuh) choose the team.
//
// Each thread of a team calls a *_share() function once. Invariant: finish_message(), which publishes the `out` line,
// is called by one thread, after all shares are done and visible to it.
#pragma once

#include "device/line.cuh"
#include "ipcq/handler.hpp"
#include "layout/handle_records.hpp"

namespace ipcq::device {

using detail::Team;

// The handler that the kernels call. Where a user's has parameters, device/user_kernels.cuh has one with those of the
// queue.
template <class Handler>
struct Instance {
  __device__ static Handler get() { return Handler(); }
};

inline constexpr unsigned kInlineBuffer =  // most inline bytes in whole 16-byte words
    (kInlineBytes + sizeof(uint4) - 1) / sizeof(uint4) * sizeof(uint4);

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
  const bool carries = inlined && l.unit >= l.data_unit && at < l.length;
  auto* const words = reinterpret_cast<std::uint32_t*>(&buffer[which][carries ? at : 0]);
  if (carries) {
    for (unsigned i = 0; i < kDataWords; ++i) words[i] = l.mine.word[i];
  }
  __syncwarp();
  if (inlined) {
    const auto& handler = Instance<Handler>::get();
    if (handler.accepts(l.length)) {
      handler(reinterpret_cast<std::byte*>(buffer[which]), l.length, Team{l.unit, kLineUnits});
    } else {
      if (l.unit == 0) {
        l.mine.word[0] |= HeadBits::Flags::put(kNotProcessed);
        ++failed;
      }
    }
  }
  __syncwarp();
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

__device__ inline std::uint8_t* payload_of(const QueueView& q, const SlotMessage& m) {
  return q.payload + m.slot * q.stride;
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
template <class Handler>
__device__ void handle_share(const QueueView& q, const SlotMessage& m, const Team& team) {
  auto* const payload = reinterpret_cast<std::byte*>(payload_of(q, m));
  if ((m.flags & kRecords) != 0) {
    (void)detail::handle_records(payload, m.length, team, [](std::byte* data, std::uint64_t length, const Team& lanes) {
      return handlers::run(Instance<Handler>::get(), data, length, lanes);
    });
  } else {
    (void)handlers::run(Instance<Handler>::get(), payload, m.length, team);
  }
}

// Whether slot, length and mirror flag of a line, which any client can overwrite, keep the kernel within the pool.
__device__ inline bool is_sound(const QueueView& q, const SlotMessage& m) {
  return m.slot < q.slots && m.length <= q.slot_bytes && ((m.flags & kInMirror) == 0 || q.mirror != nullptr);
}

// Writes the `out` line of a message whose shares are all done and visible to this thread. Returns whether the handler
// refused the message, or a record of it, which the records tell and the line does not.
template <class Handler>
__device__ bool finish_message(const QueueView& q, SlotMessage m) {
  const std::uint32_t batch = m.flags & kRecords;
  // Read before the line is written: then the slot may be lent again.
  const bool refused = batch != 0
                           ? detail::has_refused_records(reinterpret_cast<std::byte*>(payload_of(q, m)), m.length)
                           : !Instance<Handler>::get().accepts(m.length);
  m.flags = kPayloadReady | batch | (refused && batch == 0 ? kNotProcessed : 0) | (q.host_readable ? kInMirror : 0);
  fence_system();
  write_message(q, m, kSlot);
  return refused;
}

}  // namespace ipcq::device
