// Consumer: receives from one queue as a member of a group. One per thread; not thread-safe. Must not outlive its
// Session.
#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <span>
#include <string>

#include "ipcq/message.hpp"

namespace ipcq {

namespace detail {
struct CudaAccess;
}

// Whether the clean close of every producer is the end.
enum class Until : std::uint8_t { end, forever };

struct ConsumerOptions {
  // A declared group is durable. Any other name makes an ephemeral group: it starts at the newest message and vanishes
  // with its last member.
  std::string group = "default";
  Wait wait = Wait::hybrid();
  Until until = Until::end;
  // How long to wait for the queue to appear; and, where the stream has ended and nothing of it is left, for a producer
  // that begins the next one, before that end is reported.
  Timeout wait_for = Duration::zero();
  // Policy of an ephemeral group that this consumer is the first member of. UsageError where the group exists already,
  // declared or founded, and is not lossy: it would hold producers up after all.
  bool lossy = false;
  bool cuda = false;  // this consumer uses <ipcq/cuda.hpp>
};

class IPCQ_API Consumer {
 public:
  // None: every call returns Status::closed. For members; Session::consumer() makes one that is open.
  Consumer() noexcept;
  explicit Consumer(std::unique_ptr<detail::ConsumerCore> core) noexcept;
  Consumer(Consumer&&) noexcept;
  Consumer& operator=(Consumer&&) noexcept;
  ~Consumer();  // close()

  // Takes the group's next message: first one given back, else the oldest not yet taken. Waits `timeout` at most.
  // Statuses: ok, empty (zero timeout), timeout, end, closed, peer_dead, interrupted, full (QueueOptions::held
  // messages are held already).
  [[nodiscard]] Result<Message> receive(Timeout timeout = kForever) noexcept;

  // Takes up to batch.size() messages that are there now, waiting only for the first. batch[0 .. count) are set.
  [[nodiscard]] BatchResult receive_many(std::span<Message> batch, Timeout timeout = kForever) noexcept;

  // The messages until the end of the stream, as an input range: for range-for, std::ranges algorithms and views. A
  // step releases the message; the next is received, and waited for, when it is looked at or compared with the end: so
  // std::views::take(n) receives n messages. Views that search ahead (filter, drop_while) receive what they pass over.
  // Throws ClosedError, which carries the status, when the queue stops otherwise, or all that may be held is held.
  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = Message;
    using difference_type = std::ptrdiff_t;
    Message& operator*() const { return current(); }
    Message* operator->() const { return &current(); }
    Iterator& operator++() {
      current() = Message();
      received_ = false;
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return !current(); }

   private:
    friend class Consumer;
    explicit Iterator(Consumer* consumer) : consumer_(consumer) {}
    Message& current() const {
      if (!received_) message_ = consumer_->next_or_end();
      received_ = true;
      return message_;
    }
    Consumer* consumer_;
    mutable Message message_;  // the range's element: const belongs to the iterator
    mutable bool received_ = false;
  };
  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() const noexcept { return {}; }

  // Leaves the group. Messages still held go back to it. Idempotent; the destructor calls it.
  void close() noexcept;

 private:
  friend struct detail::CudaAccess;
  Message next_or_end();
  std::unique_ptr<detail::ConsumerCore> core_;
};

}  // namespace ipcq
