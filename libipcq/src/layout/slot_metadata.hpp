// The metadata of a slot: bytes beside a message's payload that CPUs read, wherever the payload is.
//
// Who has the slot on loan writes them before it publishes; the line's tag publishes them, and until the message is
// released nobody writes. They are the message's if `lease` is that of its slot: a loan that gives none leaves those of
// an earlier one, whose lease is over. A death leaves nothing to repair: the slot's next loan has another lease.
//
// Invariant: a pool's header says how many bytes a slot may have, so an entry's size is known at run time only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layout/layout.hpp"

namespace ipcq::detail {

struct SlotMetadata {
  std::uint64_t lease;   // stored last
  std::uint32_t length;  // of `data`
  std::uint32_t reserved;
  // std::byte data[metadata_bytes]
};
static_assert(sizeof(SlotMetadata) == 16);
static_assert(offsetof(SlotMetadata, lease) == 0 && offsetof(SlotMetadata, length) == 8);

// Distance of entries; 0: there are none.
constexpr std::uint64_t metadata_stride(std::uint32_t metadata_bytes) {
  constexpr std::uint64_t kAlign = 64;
  return metadata_bytes == 0 ? 0 : (sizeof(SlotMetadata) + metadata_bytes + kAlign - 1) / kAlign * kAlign;
}

}  // namespace ipcq::detail
