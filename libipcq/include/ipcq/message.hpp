// Loan (a slot being filled) and Message (a message being read): what user code holds.
//
// Both are move-only handles into shared memory and must not outlive their Session. A Loan belongs to its producer's
// thread. A Message may be released, given back or forwarded from any one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipcq/export.hpp"
#include "ipcq/status.hpp"
#include "ipcq/wait.hpp"

namespace ipcq {

namespace detail {
class ProducerCore;
class ConsumerCore;
}  // namespace detail

// A free slot on loan. Holding one delays nobody; dropping it unpublished returns it to the pool.
class IPCQ_API Loan {
 public:
  Loan() noexcept = default;
  Loan(Loan&& other) noexcept;
  Loan& operator=(Loan&& other) noexcept;
  ~Loan();

  // The slot's whole capacity, in bytes; empty after publish. Contents are unspecified.
  std::span<std::byte> bytes() const noexcept { return {data_, capacity_}; }

  // Publishes the first `length` bytes as one message. Takes its place in the queue's order now, not at loan time.
  // Waits for a free line as the queue's backpressure says, `timeout` at most. On any status but `ok` the loan is kept
  // and may be published again. too_large: `length` exceeds the capacity; not_held: already published.
  Status publish(std::size_t length, Duration timeout = kForever) noexcept;

 private:
  friend class detail::ProducerCore;
  detail::ProducerCore* core_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t capacity_ = 0;
  std::uint64_t lease_ = 0;
  std::uint32_t slot_ = 0;
};

// A message that this consumer's group will not see elsewhere while it is held. Destruction releases it; destruction
// while an exception unwinds gives it back, for another member of the group to process.
class IPCQ_API Message {
 public:
  Message() noexcept = default;
  Message(Message&& other) noexcept;
  Message& operator=(Message&& other) noexcept;
  ~Message();

  explicit operator bool() const noexcept { return core_ != nullptr; }

  std::span<const std::byte> bytes() const noexcept { return {data_, length_}; }
  // Number of this message among those of its producer, from 0. No gap unless the producer died or messages dropped.
  std::uint64_t sequence() const noexcept { return sequence_; }
  // Id of the producer, unique while it is attached.
  std::uint32_t producer() const noexcept { return producer_; }
  // CLOCK_MONOTONIC at publish, ns. 0 for messages carried inline in their line.
  std::uint64_t published_at_ns() const noexcept { return published_at_ns_; }
  // Place in the queue's order. Tickets of one queue grow by one per publish.
  std::uint64_t ticket() const noexcept { return ticket_; }
  // How often this message was handed out before (0: first delivery).
  std::uint32_t redeliveries() const noexcept { return redeliveries_; }
  // False when the queue's handler refused this payload (a length it cannot work on); the bytes are as published.
  bool processed() const noexcept { return processed_; }

  // Ends the reading: the slot goes back once every group has released it. not_held: already released.
  Status release() noexcept;
  // Gives the message back unprocessed: the next receive of any member of the group takes it, ahead of newer ones.
  Status nack() noexcept;

 private:
  friend class detail::ConsumerCore;
  friend class detail::ProducerCore;
  detail::ConsumerCore* core_ = nullptr;
  const std::byte* data_ = nullptr;
  std::size_t length_ = 0;
  std::uint64_t sequence_ = 0;
  std::uint64_t ticket_ = 0;
  std::uint64_t published_at_ns_ = 0;
  std::uint32_t held_ = 0;
  std::uint32_t producer_ = 0;
  std::uint32_t redeliveries_ = 0;
  std::uint32_t unwinding_ = 0;  // std::uncaught_exceptions() at receive
  bool processed_ = true;
};

}  // namespace ipcq
