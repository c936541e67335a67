// Consumer: receives from one queue as a member of a group. One per thread; not thread-safe. Must not outlive its
// Session. Session::interrupt() ends its waits from another thread.
#pragma once

#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <type_traits>

#include "ipcq/message.hpp"

namespace ipcq {

namespace detail {
struct CudaAccess;
// Throws ClosedError: a range over a consumer stops with that status.
[[noreturn]] IPCQ_API void throw_no_message(Status why);
// A callable whose type is forgotten. Returns whether it wants more messages.
struct MessageCallback {
  void* object = nullptr;
  bool (*call)(void* object, const MessageView& view) = nullptr;
};
}  // namespace detail

// Whether receive() returns Status::end when the stream has ended, or waits for the next stream.
enum class Until : std::uint8_t { end, forever };

struct ConsumerOptions {
  // A declared group is durable. Any other name makes an ephemeral group: it gets the messages published from now on,
  // and ends with its last member.
  std::string group = "default";
  Wait wait = Wait::hybrid();
  Until until = Until::end;
  // How long to wait for the queue to appear. Also, if the stream has ended and nothing of it is left, how long to wait
  // for a producer that begins the next stream before receive() returns Status::end.
  Timeout wait_for = Duration::zero();
  // Makes the ephemeral group lossy, if this consumer is its first member. UsageError if the group exists, declared or
  // ephemeral, and is not lossy: it could block producers.
  bool lossy = false;
  bool cuda = false;  // this consumer uses <ipcq/cuda.hpp>
  // The type of what it receives (ipcq/schema.hpp), which must be the queue's; empty: any bytes. TypedConsumer sets it.
  std::string schema{};
};

class IPCQ_API Consumer {
 public:
  // An empty object, for members: every call returns Status::closed. Session::consumer() opens one.
  Consumer() noexcept;
  explicit Consumer(std::unique_ptr<detail::ConsumerCore> core) noexcept;
  Consumer(Consumer&&) noexcept;
  Consumer& operator=(Consumer&&) noexcept;
  ~Consumer();  // close()

  // Takes the group's next message: the oldest that was given back, else the oldest not yet taken. Waits `timeout` at
  // most, as ConsumerOptions::wait says. Statuses: ok; empty (zero timeout); timeout; end; closed; peer_dead;
  // interrupted; full (this consumer holds QueueOptions::held messages already).
  [[nodiscard]] Result<Message> receive(Timeout timeout = kForever) noexcept;

  // Takes up to batch.size() messages that are there now, 256 at most, and waits only for the first. Sets
  // batch[0 .. count); messages that these elements held before are released. Statuses as receive().
  [[nodiscard]] BatchResult receive_many(std::span<Message> batch, Timeout timeout = kForever) noexcept;

  // Copies the payload of the group's next message to `buffer` and is done with it: nothing is held, nothing to
  // release, and no other member gets the message once the call has returned, also if this process dies. The view's
  // bytes() are the first of `buffer`. Cheaper than receive() for messages of Producer::inline_bytes() and less. Waits,
  // and fails, as receive() does. Also: too_large: the payload exceeds `buffer`; unreachable: it lies in device memory
  // alone. The message is the group's next then as before. What `buffer` has is unspecified unless a message came. Of a
  // record batch: it is held until its last record was received, and comes again as a whole if this process dies
  // before.
  [[nodiscard]] Result<MessageView> receive_into(std::span<std::byte> buffer, Timeout timeout = kForever) noexcept;

  // Calls callback(const MessageView&) for up to `limit` messages, in order, as long as there are some, and waits only
  // for the first. The cheapest way to receive: messages of Producer::inline_bytes() and less are not held but stay in
  // their lines meanwhile. In a lossy group, with Backpressure::drop_oldest and on a GPU they are held, as by
  // receive_many(), so that no producer waits for their lines. A callback that returns false ends the call after that
  // message. A message is done with when its callback returns, and bytes() are valid until then.
  //
  // A slow callback holds up others, which a slow reader of a held Message does not: the messages that were claimed
  // with it, a quarter of the ring or of the slots at most, wait for this consumer, and producers wait for their lines.
  // So a callback that sends to its own queue may wait for itself: give that call a time-out. If the callback throws,
  // its message is given back as by Message::nack(), those behind it stay the group's next, and the exception goes on
  // to the caller. If this process dies within a callback, that message counts as delivered once more. A record stands
  // for its batch in both: all of its records come again. A call that ends among records keeps the rest for the next.
  //
  // Within the callback this consumer's receiving calls return Status::full. The callback may close the consumer: its
  // message is the group's again then, and its bytes() end. It must not destroy the Session. Statuses as receive(); ok
  // with a count of 0 only for a limit of 0.
  template <class Callback>
  BatchResult consume(Callback&& callback, Timeout timeout = kForever, std::size_t limit = 256) {
    using Result = std::invoke_result_t<Callback&, const MessageView&>;
    static_assert(std::is_void_v<Result> || std::is_same_v<Result, bool>,
                  "the callback returns nothing, or a bool: whether it wants more");
    using Object = std::remove_reference_t<Callback>;
    if constexpr (std::is_function_v<Object>) {
      return consume(&callback, timeout, limit);
    } else {
      void* const object = const_cast<void*>(static_cast<const volatile void*>(std::addressof(callback)));
      const auto call = [](void* called, const MessageView& view) -> bool {
        if constexpr (std::is_void_v<Result>) {
          std::invoke(*static_cast<Object*>(called), view);
          return true;
        } else {
          return std::invoke(*static_cast<Object*>(called), view);
        }
      };
      return consume_with({object, call}, timeout, limit);
    }
  }

  // The messages until the end of the stream, as an input range for range-for, std::ranges algorithms and views. An
  // increment releases the message. The next one is received, and waited for without a time limit, when the iterator is
  // dereferenced or compared with the end, so std::views::take(n) receives n messages. Views that search ahead (filter,
  // drop_while) receive the messages that they skip. Throws ClosedError with the status if receive() returns any but ok
  // and end.
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
    mutable Message message_;  // the range's element: constness of the iterator does not extend to it
    mutable bool received_ = false;
  };
  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() const noexcept { return {}; }

  // A descriptor for epoll and other event loops: readable while receive() may have something to return, also the end
  // of the stream or of the broker. Level-triggered: it stays readable until a call of this consumer has come to empty
  // or timeout; so receive with a zero time-out until that. Perhaps readable though there is nothing: once after fd(),
  // when what it told of was taken before, by this or another member, and every five seconds. It belongs to the
  // consumer: do not read, write or close it; it ends with close(). The first call has the session start a thread, for
  // up to 127 consumers, clients and servers together, which sleeps on their bells; without it nothing is slower. Does
  // not wait. Throws UsageError (not open, use after fork, {.cuda = true}), SystemError (ENOSYS, EPERM: no futex_waitv,
  // which is Linux 5.16; no descriptor or thread).
  int fd();

  // Most bytes that a message can have beside its payload (Message::metadata()).
  std::size_t metadata_bytes() const noexcept;
  std::size_t metadata_for_values() const noexcept;  // as Producer
  // The type of what it receives (ipcq/schema.hpp), as of now: of the queue's messages as they come out of its handler.
  // Empty: any bytes.
  std::string schema() const;

  // Leaves the group, and gives back the messages still held. Waits for the broker's answer, 10 s at most; a consumer
  // that has used ipcq::cuda first waits until its streams have read the messages that were released on them, for
  // another 10 s at most. Idempotent; the destructor calls it.
  void close() noexcept;

 private:
  friend struct detail::CudaAccess;
  Message next_or_end();
  BatchResult consume_with(const detail::MessageCallback& callback, Timeout timeout, std::size_t limit);
  std::unique_ptr<detail::ConsumerCore> core_;
};

}  // namespace ipcq
