// One message's work, by whatever team of threads does it.
#pragma once

#include "device/line.cuh"
#include "ipcq/handler.hpp"

namespace ipcq::device {

// The lanes that share one message.
struct Team {
  std::uint64_t my_rank;
  std::uint64_t my_size;
  __device__ std::uint64_t rank() const { return my_rank; }
  __device__ std::uint64_t size() const { return my_size; }
};

inline constexpr unsigned kInlineBuffer =  // most inline bytes in whole 16-byte words
    (kInlineBytes + sizeof(uint4) - 1) / sizeof(uint4) * sizeof(uint4);

// The four lines of a warp, those with `mine` set: inlined payloads go through the handler, tombstones and nonsense are
// passed over. `buffer`: kWarpLines x kInlineBuffer bytes of shared memory. What lane 0 of each line counted is added
// to `failed` and `damaged`.
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
    if (Handler::accepts(l.length)) {
      Handler()(reinterpret_cast<std::byte*>(buffer[which]), l.length, Team{l.unit, kLineUnits});
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

// This team's share of a copy between mirror and device memory. Whole words: a slot's stride is a multiple of
// kLineBytes.
template <class Load>
__device__ void copy_share(std::uint8_t* to, const std::uint8_t* from, std::uint64_t length, const Team& team,
                           Load load) {
  const std::uint64_t words = (length + sizeof(uint4) - 1) / sizeof(uint4);
  const auto* const source = reinterpret_cast<const uint4*>(from);
  auto* const target = reinterpret_cast<uint4*>(to);
  constexpr unsigned kAtOnce = 8;  // loads over PCIe take long: have many on the way
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
  if (Handler::accepts(m.length)) Handler()(reinterpret_cast<std::byte*>(payload_of(q, m)), m.length, team);
}

// Whether the slot, which the line's writer named, exists and can hold the message, and its copies can be made.
__device__ inline bool is_sound(const QueueView& q, const SlotMessage& m) {
  return m.slot < q.slots && m.length <= q.slot_bytes && ((m.flags & kInMirror) == 0 || q.mirror != nullptr);
}

// Ends a message whose every share is done and visible to this thread.
template <class Handler>
__device__ void finish_message(const QueueView& q, SlotMessage m) {
  m.flags = kPayloadReady | (Handler::accepts(m.length) ? 0 : kNotProcessed) | (q.host_readable ? kInMirror : 0);
  fence_system();
  write_message(q, m, kSlot);
}

}  // namespace ipcq::device
