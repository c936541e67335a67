// Views of a ring's lines and logs for loops over tickets. Each has copies of what a Ring knows, because after every
// access to shared memory the compiler would load a Ring's members again.
//
// Template over the atomics policy. They refer to the ring's mapping, which must outlive them.
#pragma once

#include <cstdint>

#include "layout/plain_line.hpp"
#include "layout/words.hpp"

namespace ipcq::detail {

// Where a ticket's line is, and which lap of the ring it belongs to. The first lap is 1.
struct RingShape {
  std::uint64_t mask = 0;  // the number of lines, a power of two, less 1
  unsigned shift = 0;      // its logarithm
  std::uint64_t index(std::uint64_t ticket) const { return ticket & mask; }
  std::uint64_t lap(std::uint64_t ticket) const { return (ticket >> shift) + 1; }
};

// How many lines before they are used lines are fetched.
inline constexpr std::uint64_t kLinesAhead = 8;

// The lines that readers read.
template <class A>
struct OutLines {
  RingShape shape;
  std::uint32_t units;
  std::uint32_t inline_bytes;
  bool plain;
  const typename A::Unit* first;

  const typename A::Unit* at(std::uint64_t ticket) const { return first + shape.index(ticket) * units; }
  std::uint64_t lap(std::uint64_t ticket) const { return shape.lap(ticket); }
  // With the line of `ticket`: fetches one that is to be read a little later, if it is before `end`, so expected to be
  // written. One that a producer still writes would be taken from its core. Returns whether it is.
  [[gnu::always_inline]] bool fetch_ahead(std::uint64_t ticket, std::uint64_t end) const {
    if (ticket + kLinesAhead >= end) return false;
    A::prefetch_for_read(at(ticket + kLinesAhead));
    return true;
  }
  // The ticket's line, and what it says of its message, if it is plain and has the usual head of `Kind`. Null: it is
  // not, or not readable yet; Ring's functions tell.
  template <LineKind Kind>
  [[gnu::always_inline]] const typename A::Unit* usual(std::uint64_t ticket, PackedUnits& p) const {
    if (!plain) [[unlikely]]
      return nullptr;
    const typename A::Unit* const line = at(ticket);
    return look_at_usual_line<Kind>(line, lap(ticket), inline_bytes, p) ? line : nullptr;
  }
};

// Publishes claimed tickets as messages of a usual head, where the lines are plain.
template <class A>
struct UsualWriter {
  RingShape shape;
  std::uint32_t units;
  std::uint32_t producer;
  typename A::Unit* first;

  typename A::Unit* at(std::uint64_t ticket) const { return first + shape.index(ticket) * units; }
  // After a line was written: fetches for writing one that is to be written a little later, if it is before `limit`, so
  // known to be free. Otherwise the claim that comes next would wait until the stores to a line that another core has
  // are done. With 8 lines one message a call gains a third (oneway_bench, H200 host).
  [[gnu::always_inline]] void fetch_ahead(std::uint64_t ticket, std::uint64_t limit) const {
    if (ticket + kLinesAhead < limit) A::prefetch_for_write(at(ticket + kLinesAhead));
  }
  // `length`: up to the ring's inline_bytes().
  [[gnu::always_inline]] void write(std::uint64_t ticket, std::uint64_t sequence, const std::byte* data,
                                    std::uint32_t length) const {
    write_plain_inline(at(ticket), shape.lap(ticket), producer, sequence, data, length);
  }
  [[gnu::always_inline]] void write_slot(std::uint64_t ticket, std::uint64_t sequence, const PlainSlot& slot,
                                         std::uint32_t length) const {
    write_plain_slot(at(ticket), shape.lap(ticket), producer, sequence, slot, length);
  }
};

// Marks lines as done for a group, as Ring::finish().
template <class A>
struct Finisher {
  RingShape shape;
  std::uint32_t client;
  typename A::Word* log;

  void finish(std::uint64_t ticket) const {
    // SYNC line-freed (release): the caller's loads of the line before the entry. Pairs with: is_free.
    log[shape.index(ticket)].store(pack_own(shape.lap(ticket), OwnState::done, client), std::memory_order_release);
  }
};

}  // namespace ipcq::detail
