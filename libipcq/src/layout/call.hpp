// A call entry: where the answer to a client's request comes, and how far the call is. The word (CallWord in words.hpp,
// with its state diagram) says which party may access the rest.
//
// Invariant: the entries of a queue are as long as its longest inline payload needs, so their size is known at run time
// only: CallEntries finds them. Each endpoint has a block of as many as the queue's header says.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layout/layout.hpp"
#include "layout/words.hpp"

namespace ipcq::detail {

// `data` is declared for the shortest line. A queue with longer lines has longer entries.
template <class A>
struct alignas(64) CallOf {
  typename A::Word word;      // CallWord
  typename A::Word deadline;  // ns of now_ns(); the caller, before `open`
  // The answer; written by who has the word at `writing`.
  typename A::Word lease;                   // of a slot; likewise
  typename A::Word where;                   // CallPlaceBits
  typename A::template PlainTail<32> data;  // a reply that lies here, or the text of a failure
};
using CallEntry = CallOf<SharedAtomics>;
static_assert(sizeof(CallEntry) == 64);
static_assert(offsetof(CallEntry, word) == 0 && offsetof(CallEntry, deadline) == 8 &&
              offsetof(CallEntry, lease) == 16 && offsetof(CallEntry, where) == 24 && offsetof(CallEntry, data) == 32);

// CallOf::where: how long the answer is, and of one in a slot which; of a failure, instead, its code.
struct CallPlaceBits {
  using Length = Bits<0, 32>;
  using SlotOrCode = Bits<32, 32>;
};
static_assert(fill_a_word<CallPlaceBits::Length, CallPlaceBits::SlotOrCode>());

// Size of an entry whose answer may be as long as an inline payload, and what fits in one.
constexpr std::uint32_t call_bytes(std::uint32_t inline_bytes) {
  constexpr std::uint32_t kAlign = alignof(CallEntry);
  return (static_cast<std::uint32_t>(offsetof(CallEntry, data)) + inline_bytes + kAlign - 1) / kAlign * kAlign;
}
constexpr std::uint32_t answer_bytes(std::uint32_t inline_bytes) {
  return call_bytes(inline_bytes) - static_cast<std::uint32_t>(offsetof(CallEntry, data));
}

// A run of call entries. A view: the entries belong to a mapping that must outlive it.
template <class A>
class CallEntries {
 public:
  CallEntries() = default;
  // `size`: of an entry, in bytes.
  CallEntries(void* first, std::uint32_t size, std::uint32_t count)
      : first_(static_cast<std::byte*>(first)), size_(size), count_(count) {}
  CallOf<A>& operator[](std::uint32_t i) const {
    return *reinterpret_cast<CallOf<A>*>(first_ + std::uint64_t{i} * size_);
  }
  std::uint32_t size() const { return count_; }

 private:
  std::byte* first_ = nullptr;
  std::uint32_t size_ = 0;
  std::uint32_t count_ = 0;
};

}  // namespace ipcq::detail
