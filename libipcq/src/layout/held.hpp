// A held entry: a member's copy of a message that it has taken. The copy lets producers reuse the line at once. The
// word (HeldWord in words.hpp, with its state diagram) says which party may access the rest.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layout/line.hpp"
#include "layout/words.hpp"

namespace ipcq::detail {

template <class A>
struct alignas(64) HeldOf {
  typename A::Word word;    // HeldWord
  typename A::Word ticket;  // valid unless the entry is free; the repair compares it with the tickets of a dead member
  StoredDescriptorOf<A> descriptor;
  typename A::template Plain<InlineData> data;
  std::uint8_t pad[40];
};
using Held = HeldOf<SharedAtomics>;

static_assert(sizeof(Held) == 192);
static_assert(offsetof(Held, word) == 0 && offsetof(Held, ticket) == 8 && offsetof(Held, descriptor) == 16 &&
              offsetof(Held, data) == 72 && offsetof(Held, pad) == 152);

}  // namespace ipcq::detail
