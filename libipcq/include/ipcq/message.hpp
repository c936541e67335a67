// Loan (a slot being filled) and Message (a message being read): what user code holds. MessageView: what is known of a
// message.
//
// Loan and Message are move-only handles into shared memory and must not outlive their Session. A Loan belongs to its
// producer's thread. A Message may be released or given back from another thread than its consumer's, but not while
// that Consumer is being closed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "ipcq/export.hpp"
#include "ipcq/status.hpp"
#include "ipcq/wait.hpp"

#pragma push_macro("Status")  // Xlib's, for int
#undef Status

namespace ipcq {

namespace detail {
class ProducerCore;
class ConsumerCore;
class CallForwarding;
class CallSender;
class CopyingReceive;
class Forwarding;
class RecordReader;
}  // namespace detail

// A slot on loan to a producer. Holding it delays no other message. Destroying it unpublished returns the slot to the
// pool.
class IPCQ_API Loan {
 public:
  Loan() noexcept = default;
  Loan(Loan&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)),
        data_(std::exchange(other.data_, nullptr)),
        capacity_(std::exchange(other.capacity_, 0)),
        lease_(other.lease_),
        slot_(other.slot_) {}
  Loan& operator=(Loan&& other) noexcept {
    Loan taken(std::move(other));
    std::swap(core_, taken.core_);
    std::swap(data_, taken.data_);
    std::swap(capacity_, taken.capacity_);
    std::swap(lease_, taken.lease_);
    std::swap(slot_, taken.slot_);
    return *this;
  }
  ~Loan() {
    if (core_ != nullptr) give_back();
  }

  // The slot's whole capacity, in bytes; empty after publish. Contents are unspecified.
  std::span<std::byte> bytes() const noexcept { return {data_, capacity_}; }

  // Gives the message metadata: a copy of these bytes beside the payload, in host memory wherever the payload is
  // (Message::metadata()). The last call counts. Statuses: ok; too_large: more than Producer::metadata_bytes();
  // not_held: already published; closed: its producer is.
  [[nodiscard]] Status set_metadata(std::span<const std::byte> bytes) noexcept;

  // Publishes the first `length` bytes as one message. Takes its place in the queue's order now, not at loan time.
  // Waits for a free line as the queue's backpressure says, `timeout` at most. On any status but `ok` the loan is kept
  // and may be published again. Statuses: ok, full (policy reject, or a zero time-out), timeout, closed, peer_dead,
  // interrupted; too_large: `length` exceeds the capacity; not_held: already published.
  [[nodiscard]] Status publish(std::size_t length, Timeout timeout = kForever) noexcept;

 private:
  friend class detail::ProducerCore;
  friend class detail::CallSender;
  void give_back() noexcept;
  detail::ProducerCore* core_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t capacity_ = 0;
  std::uint64_t lease_ = 0;
  std::uint32_t slot_ = 0;
};

// What a message is and where its payload lies. A view owns nothing: the call that gave it says how long its bytes
// stay.
class IPCQ_API MessageView {
 public:
  MessageView() noexcept = default;

  // The payload. Empty for one in device memory only, which ipcq::cuda can read.
  std::span<const std::byte> bytes() const noexcept { return {m_.data, m_.data != nullptr ? m_.length : 0}; }
  // Size of the payload in bytes, also for one in device memory.
  std::size_t length() const noexcept { return m_.length; }
  // Number of this message among those of its producer, from 0. A gap means that the producer died or messages were
  // dropped.
  std::uint64_t sequence() const noexcept { return m_.sequence; }
  // Id of the producer, unique while it is attached.
  std::uint32_t producer() const noexcept { return m_.producer; }
  // CLOCK_MONOTONIC at publish, ns. 0 for messages carried inline in their line.
  std::uint64_t published_at_ns() const noexcept { return m_.published_at_ns; }
  // Place in the queue's order. Tickets of one queue grow by one per publish.
  std::uint64_t ticket() const noexcept { return m_.ticket; }
  // Place of this record in its batch, from 0 (QueueOptions::batch): ticket and record together name it. Records of one
  // batch share ticket, sequence number and time. 0 for a message that is no record.
  std::uint32_t record() const noexcept { return m_.record; }
  // How often this message, or the batch of this record, was delivered before; 0 at the first delivery.
  std::uint32_t redeliveries() const noexcept { return m_.redeliveries; }
  // False if the queue's handler refused this payload (a length that it cannot work on), whose bytes are as published,
  // or failed on it.
  bool processed() const noexcept { return m_.flaw == 0; }
  // True if the queue's handler failed on this payload: it said so (HandlerMessage::fail()), threw, or its process
  // died. It may have changed the bytes in part. Of records less is known: what fail() was called for is not
  // processed(), and no more; where the handler threw on a record, all are failed() that are not processed() in that
  // batch.
  bool failed() const noexcept { return m_.flaw > kRefused; }
  // Where failed(): the code, 1 to 255, with which the handler said so (HandlerMessage::fail()); 0 where it threw or
  // died, or of a record, or where failed() is false.
  std::uint8_t failure() const noexcept { return failed() ? m_.failure : 0; }

 private:
  friend class detail::ConsumerCore;
  friend class detail::CopyingReceive;
  friend class detail::Forwarding;
  friend class detail::RecordReader;
  friend class Message;
  static constexpr std::uint8_t kRefused = 2;  // as LineFlag has it
  struct Content {
    const std::byte* data = nullptr;
    std::uint64_t sequence = 0;
    std::uint64_t ticket = 0;
    std::uint64_t published_at_ns = 0;
    std::uint32_t length = 0;
    std::uint32_t producer = 0;
    std::uint32_t record = 0;
    std::uint16_t redeliveries = 0;  // as its held entry's word has it
    std::uint8_t flaw = 0;           // 0: processed; kRefused; more: failed
    std::uint8_t failure = 0;        // a code, where it has failed
  };
  Content m_;
};

// A message that no other member of the consumer's group gets while it is held. Destruction releases it; destruction
// while an exception unwinds the stack gives it back, so that a member of the group processes it again.
//
// As a view: bytes() are valid while the message is held, also after a move of the Message; once it was released, given
// back or forwarded, bytes() is empty and length() 0.
class IPCQ_API Message : public MessageView {
 public:
  Message() noexcept = default;
  Message(Message&& other) noexcept
      : MessageView(std::exchange(static_cast<MessageView&>(other), MessageView())),
        hold_(std::exchange(other.hold_, Hold())) {}
  Message& operator=(Message&& other) noexcept {
    Message taken(std::move(other));
    std::swap(m_, taken.m_);
    std::swap(hold_, taken.hold_);
    return *this;
  }
  ~Message() {
    if (hold_.core != nullptr) end();
  }

  explicit operator bool() const noexcept { return hold_.core != nullptr; }

  // What the producer has put beside the payload (Loan::set_metadata()): a view, valid as bytes() are. Readable by the
  // CPU also where the payload is in device memory alone. Empty: nothing, or the message is not held; of a record; of a
  // message that is in no slot.
  std::span<const std::byte> metadata() const noexcept;

  // Releases the message: its slot becomes free once every group has released it. Does not wait. Statuses: ok; not_held
  // (already released, or no longer this consumer's); closed (the consumer is closed). None needs a reaction.
  Status release() noexcept;
  // Gives the message back: the next receive of any member of the group takes it, before newer ones. Does not wait.
  // Statuses as release().
  Status nack() noexcept;

 private:
  friend class detail::ConsumerCore;
  friend class detail::Forwarding;
  friend class detail::RecordReader;
  void end() noexcept;
  // After the holding has ended: the memory of bytes() may belong to another message by now.
  void forget() noexcept {
    hold_.core = nullptr;
    m_.data = nullptr;
    m_.length = 0;
  }

  struct Hold {
    detail::ConsumerCore* core = nullptr;
    std::uint32_t entry = 0;       // of a record: of its batch (detail::RecordReader)
    std::uint16_t deliveries = 0;  // as its entry's word has it
    std::uint8_t unwinding = 0;    // std::uncaught_exceptions() at receive
  };
  Hold hold_;
};

}  // namespace ipcq

#pragma pop_macro("Status")
