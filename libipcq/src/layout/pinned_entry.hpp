// The entry of a received message in pinned memory, between the CPU and the streams of one consumer.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layout/atomic.hpp"
#include "layout/delivered.hpp"

namespace ipcq::detail {

struct PinnedEntry {
  Delivered content;
  Word released;  // number of the last use that the streams have finished reading; written by the stream
  Word resolved;  // number of the last use whose content is complete; receive_ahead's streams wait for it
  std::uint8_t pad[kLineBytes - 2 * sizeof(Word)];
};
static_assert(sizeof(PinnedEntry) == 256);
static_assert(offsetof(PinnedEntry, content) == 0 && offsetof(PinnedEntry, released) == 128 &&
              offsetof(PinnedEntry, resolved) == 136);

}  // namespace ipcq::detail
