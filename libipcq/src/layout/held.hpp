// A held entry: a member's copy of a message that it has taken. The copy lets producers reuse the line at once. The
// word (HeldWord in words.hpp, with its state diagram) says which party may access the rest.
//
// Invariant: the entries of a queue are as long as its longest inline payload needs, so their size is known at run time
// only: HeldEntries finds them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>

#include "layout/line.hpp"
#include "layout/words.hpp"

namespace ipcq::detail {

// `data` is declared for the shortest line. A queue with longer lines has longer entries.
template <class A>
struct alignas(64) HeldOf {
  typename A::Word word;    // HeldWord
  typename A::Word ticket;  // valid unless the entry is free; the repair compares it with the tickets of a dead member
  StoredDescriptorOf<A> descriptor;
  typename A::template PlainTail<56> data;  // payload of an inline message
};
using Held = HeldOf<SharedAtomics>;
// Descriptor::schema of the message.
inline std::uint32_t schema_of(const Held& h) {
  return static_cast<std::uint32_t>(h.descriptor.word[1].load(std::memory_order_relaxed) >> 32);
}

static_assert(sizeof(Held) == 128);
static_assert(offsetof(Held, word) == 0 && offsetof(Held, ticket) == 8 && offsetof(Held, descriptor) == 16 &&
              offsetof(Held, data) == 72);

// Size of an entry for messages of up to `inline_bytes`. A tagged line's last tag is copied with its data.
constexpr std::uint32_t held_bytes(std::uint32_t inline_bytes) {
  constexpr std::uint32_t kAlign = alignof(Held);
  const auto needed = static_cast<std::uint32_t>(offsetof(Held, data)) + inline_bytes + 8;
  return (needed + kAlign - 1) / kAlign * kAlign;
}

// A run of held entries. A view: the entries belong to a mapping that must outlive it.
template <class A>
class HeldEntries {
 public:
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = HeldOf<A>;
    using difference_type = std::ptrdiff_t;
    using pointer = HeldOf<A>*;
    using reference = HeldOf<A>&;
    Iterator() = default;
    Iterator(std::byte* at, std::uint32_t size) : at_(at), size_(size) {}
    HeldOf<A>& operator*() const { return *reinterpret_cast<HeldOf<A>*>(at_); }
    HeldOf<A>* operator->() const { return &**this; }
    Iterator& operator++() {
      at_ += size_;
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    std::byte* at_ = nullptr;
    std::uint32_t size_ = 0;
  };

  HeldEntries() = default;
  // `size`: of an entry, in bytes.
  HeldEntries(void* first, std::uint32_t size, std::uint32_t count)
      : first_(static_cast<std::byte*>(first)), size_(size), count_(count) {}

  HeldOf<A>& operator[](std::uint32_t i) const {
    return *reinterpret_cast<HeldOf<A>*>(first_ + std::uint64_t{i} * size_);
  }
  std::uint32_t size() const { return count_; }
  // `count` entries from the index `first` on.
  HeldEntries part(std::uint32_t first, std::uint32_t count) const {
    return {first_ + std::uint64_t{first} * size_, size_, count};
  }
  Iterator begin() const { return {first_, size_}; }
  Iterator end() const { return {first_ + std::uint64_t{count_} * size_, size_}; }

 private:
  std::byte* first_ = nullptr;
  std::uint32_t size_ = 0;
  std::uint32_t count_ = 0;
};

}  // namespace ipcq::detail
