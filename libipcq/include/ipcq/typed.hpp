// Typed endpoints: a producer and a consumer of messages that hold a T (ipcq/flat.hpp). docs/guide/types.md.
//
//   ipcq::TypedProducer<Tick> p = session.producer<Tick>("ticks");
//   p.send({.time = now, .price = 99.5});
//
//   ipcq::TypedConsumer<Tick> c = session.consumer<Tick>("ticks");
//   for (auto& m : c) use(m->price);
//
// A queue has one type, of what goes in; with a handler also one of what comes out. Whoever opens it as another is
// refused, by an error that names both (UsageError). What processes send that open it without a type is checked when it
// is received: Status::malformed.
//
// Thin: each call is that of the endpoint below, raw(), with its waits and statuses. Like these for one thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <iterator>
#include <span>
#include <type_traits>
#include <utility>

#include "ipcq/consumer.hpp"
#include "ipcq/flat_writer.hpp"
#include "ipcq/producer.hpp"
#include "ipcq/schema.hpp"

#pragma push_macro("Status")  // Xlib's, for int
#undef Status

namespace ipcq {

template <class T>
class TypedProducer;

// The value of a message: its metadata, if these may have values (Producer::metadata_for_values()) and are one, else
// the beginning of its payload. Empty: it is no value.
template <class T>
FlatView<T> value_of(std::span<const std::byte> payload, std::span<const std::byte> metadata,
                     std::size_t metadata_for_values) noexcept {
  const bool is_beside = metadata_for_values >= sizeof(T) && metadata.size() == sizeof(T);
  const FlatView<T> view =
      is_beside ? FlatView<T>(*reinterpret_cast<const T*>(metadata.data()), payload.data(), payload.size())
                : FlatView<T>(payload.data(), payload.size());
  return view.is_sound() ? view : FlatView<T>();
}

// A slot on loan, in which a T is built: FlatWriter's operators and make() and put(). In a queue whose metadata have
// room for it (Producer::metadata_for_values()) the T goes there, and what its lists refer to into the slot; else the T
// comes first in the slot.
template <class T>
class TypedLoan : public FlatWriter<T> {
 public:
  TypedLoan() noexcept = default;
  TypedLoan(Loan loan, std::size_t metadata_for_values) noexcept
      : FlatWriter<T>(metadata_for_values >= sizeof(T) ? FlatWriter<T>(typename FlatWriter<T>::Beside(), loan.bytes())
                                                       : FlatWriter<T>(loan.bytes())),
        loan_(std::move(loan)) {}
  TypedLoan(TypedLoan&& other) noexcept
      : FlatWriter<T>(std::exchange(other.writer(), FlatWriter<T>())), loan_(std::move(other.loan_)) {}
  TypedLoan& operator=(TypedLoan&& other) noexcept {
    TypedLoan taken(std::move(other));
    std::swap(writer(), taken.writer());
    std::swap(loan_, taken.loan_);
    return *this;
  }

  // Publishes the T and what was made for it; on ok this object is empty. Also too_large: something had no room
  // (FlatWriter::is_full()). Else as Loan::publish().
  [[nodiscard]] Status publish(Timeout timeout = kForever) noexcept {
    if (const Status s = complete(); s != Status::ok) return s;
    const Status s = loan_.publish(this->length(), timeout);
    if (s == Status::ok) writer() = FlatWriter<T>();  // the slot is readers' now
    return s;
  }
  // The slot itself, to be published without a value.
  Loan& raw() noexcept { return loan_; }

 private:
  template <class Q, class A>
  friend class TypedClient;
  FlatWriter<T>& writer() noexcept { return *this; }
  Status complete() noexcept {
    if (loan_.bytes().empty()) return Status::not_held;
    if (this->is_full()) return Status::too_large;
    return this->is_beside() ? loan_.set_metadata(detail::value_bytes(**this)) : Status::ok;
  }
  Loan loan_;
};

// A received T: a message that is held, and a view of the value (FlatView), which begins with the payload, or is the
// message's metadata. Destruction releases it, as Message.
template <class T>
class TypedMessage {
 public:
  TypedMessage() noexcept = default;
  TypedMessage(Message message, std::size_t metadata_for_values) noexcept
      : message_(std::move(message)), view_(value_of<T>(message_.bytes(), message_.metadata(), metadata_for_values)) {}
  TypedMessage(TypedMessage&& other) noexcept
      : message_(std::move(other.message_)), view_(std::exchange(other.view_, FlatView<T>())) {}
  TypedMessage& operator=(TypedMessage&& other) noexcept {
    TypedMessage taken(std::move(other));
    std::swap(message_, taken.message_);
    std::swap(view_, taken.view_);
    return *this;
  }

  // Whether there is a value: of what a receiving call has returned, until it is released, given back or forwarded.
  explicit operator bool() const noexcept { return view_ && message_; }
  // Precondition: there is a value. It lies in shared memory, and ends with the message.
  const T& operator*() const noexcept { return *view_; }
  const T* operator->() const noexcept { return view_.operator->(); }
  const T& value() const noexcept { return *view_; }
  // What a field refers to: a Range<const E> of a List<E>, a Range<const char>, which converts to std::string_view, of
  // a Text, a TensorView of a Tensor.
  template <class Field>
  auto get(const Field& field) const noexcept {
    return view_.get(field);
  }
  const FlatView<T>& view() const noexcept { return view_; }

  Message& raw() noexcept { return message_; }
  const Message& raw() const noexcept { return message_; }
  Status release() noexcept {
    view_ = {};
    return message_.release();
  }
  Status nack() noexcept {
    view_ = {};
    return message_.nack();
  }

 private:
  friend class TypedProducer<T>;
  Message message_;
  FlatView<T> view_;
};

template <class T>
class TypedProducer {
 public:
  TypedProducer() noexcept = default;
  explicit TypedProducer(Producer producer) noexcept : producer_(std::move(producer)) {}

  // Sends a copy of the value, of a type without lists, text and tensors.
  [[nodiscard]] Status send(const T& value, Timeout timeout = kForever) noexcept {
    static_assert(!detail::kRefersElsewhere<T>, "what the value refers to is sent by a FlatWriter, or a loan");
    return producer_.send(detail::value_bytes(value), timeout);
  }
  // Sends what was built, in a buffer, by a copy. Also too_large: something had no room there.
  template <std::same_as<FlatWriter<T>> Writer>
  [[nodiscard]] Status send(const Writer& value, Timeout timeout = kForever) noexcept {
    return value.is_full() || value.is_beside() ? Status::too_large : producer_.send(value.bytes(), timeout);
  }
  [[nodiscard]] BatchResult send_many(std::span<const T> values, Timeout timeout = kForever) {
    static_assert(!detail::kRefersElsewhere<T>, "what the values refer to is sent by a FlatWriter, or a loan");
    return producer_.send_many(detail::EachAsBytes<T>{values}, timeout);
  }
  // Builds a value in a slot.
  [[nodiscard]] Result<TypedLoan<T>> loan(Timeout timeout = kForever) noexcept {
    Result<Loan> loan = producer_.loan(timeout);
    if (!loan) return loan.status();
    return TypedLoan<T>(std::move(*loan), producer_.metadata_for_values());
  }
  // Also too_large: the value lies in the message's metadata, and this queue has a handler, or no room there.
  [[nodiscard]] Status forward(TypedMessage<T>& message, Timeout timeout = kForever) noexcept {
    const bool is_beside = message && static_cast<const void*>(&*message) != message.view_.payload();
    if (is_beside && producer_.metadata_for_values() < sizeof(T)) return Status::too_large;
    const Status s = producer_.forward(message.message_, timeout);
    if (s == Status::ok) message.view_ = {};
    return s;
  }

  Producer& raw() noexcept { return producer_; }
  void close() noexcept { producer_.close(); }
  void break_off() noexcept { producer_.break_off(); }

 private:
  Producer producer_;
};

template <class T>
class TypedConsumer {
 public:
  TypedConsumer() noexcept = default;
  explicit TypedConsumer(Consumer consumer) noexcept : consumer_(std::move(consumer)) {}

  // Also malformed: the message is no T, and was released; failed: the queue's handler has refused it or failed on it
  // (Message::processed()), and it was released; unreachable: the payload is in device memory alone, where ipcq::cuda
  // reaches it, and the message was given back.
  [[nodiscard]] Result<TypedMessage<T>> receive(Timeout timeout = kForever) noexcept {
    Result<Message> message = consumer_.receive(timeout);
    if (!message) return message.status();
    if (!message->processed()) return Status::failed;
    if (message->bytes().size() != message->length()) {
      (void)message->nack();
      return Status::unreachable;
    }
    TypedMessage<T> typed(std::move(*message), consumer_.metadata_for_values());
    if (!typed) return Status::malformed;
    return typed;
  }
  // Copies the next value, of a type without lists, text and tensors; as Consumer::receive_into(). Also malformed and
  // failed, as receive(): the message is done with.
  [[nodiscard]] Status receive_into(T& value, Timeout timeout = kForever) noexcept {
    static_assert(!detail::kRefersElsewhere<T>, "what the value refers to ends with its message: use receive()");
    if (consumer_.metadata_for_values() >= sizeof(T)) return receive_and_copy(value, timeout);
    alignas(T) std::byte copy[sizeof(T)];
    const auto begun = std::chrono::steady_clock::now();
    const Result<MessageView> view = consumer_.receive_into(copy, timeout);
    if (view.status() == Status::too_large) {  // it is there: passed over as one that is held, or taken by another
      const Duration given = timeout;
      const Duration waited = std::chrono::steady_clock::now() - begun;
      const Duration left = given == kForever ? given : std::max(given - waited, Duration::zero());
      return receive_and_copy(value, left);
    }
    if (!view) return view.status();
    if (!view->processed()) return Status::failed;
    const FlatView<T> flat(copy, view->length());
    if (!flat.is_sound()) return Status::malformed;
    value = *flat;
    return Status::ok;
  }
  // Calls callback(const T&), or callback(const FlatView<T>&) where it takes that; as Consumer::consume(). Where values
  // may be beside their payloads, messages are held one by one. Also malformed and failed: the last message was no T,
  // or its handler failed; it is done with, and counted. Also unreachable, as receive().
  template <class Callback>
  BatchResult consume(Callback&& callback, Timeout timeout = kForever, std::size_t limit = 256) {
    if (consumer_.metadata_for_values() >= sizeof(T)) return receive_each(callback, timeout, limit);
    BatchResult done;
    const auto call = [&](const MessageView& view) {
      if (view.bytes().size() != view.length()) throw Unreachable();  // so that it is given back
      ++done.count;
      const FlatView<T> value(view.bytes().data(), view.bytes().size());
      done.status = !view.processed() ? Status::failed : value.is_sound() ? Status::ok : Status::malformed;
      return done.status == Status::ok && goes_on_after(callback, value);
    };
    try {
      const BatchResult raw = consumer_.consume(call, timeout, limit);
      if (done.status == Status::ok) done = raw;
    } catch (const Unreachable&) {
      done.status = Status::unreachable;
    }
    return done;
  }

  // As Consumer's range. Throws ClosedError for malformed, failed and unreachable, too.
  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = TypedMessage<T>;
    using difference_type = std::ptrdiff_t;
    TypedMessage<T>& operator*() const { return current(); }
    TypedMessage<T>* operator->() const { return &current(); }
    Iterator& operator++() {
      current() = TypedMessage<T>();
      received_ = false;
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return !current(); }

   private:
    friend class TypedConsumer;
    explicit Iterator(TypedConsumer* consumer) : consumer_(consumer) {}
    TypedMessage<T>& current() const {
      if (received_) return message_;
      Result<TypedMessage<T>> next = consumer_->receive();
      if (!next && next.status() != Status::end) detail::throw_no_message(next.status());
      received_ = true;
      message_ = next ? std::move(*next) : TypedMessage<T>();
      return message_;
    }
    TypedConsumer* consumer_;
    mutable TypedMessage<T> message_;
    mutable bool received_ = false;
  };
  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() const noexcept { return {}; }

  Consumer& raw() noexcept { return consumer_; }
  int fd() { return consumer_.fd(); }
  void close() noexcept { consumer_.close(); }

 private:
  struct Unreachable {};
  template <class Callback>
  static bool goes_on_after(Callback& callback, const FlatView<T>& value) {
    const auto call = [&]() -> decltype(auto) {
      if constexpr (std::is_invocable_v<Callback&, const T&>) {
        return std::invoke(callback, *value);
      } else {
        return std::invoke(callback, value);
      }
    };
    using Result = decltype(call());
    static_assert(std::is_void_v<Result> || std::is_same_v<Result, bool>,
                  "the callback returns nothing, or a bool: whether it wants more");
    if constexpr (std::is_void_v<Result>) {
      call();
      return true;
    } else {
      return call();
    }
  }
  Status receive_and_copy(T& value, Timeout timeout) noexcept {
    const Result<TypedMessage<T>> message = receive(timeout);
    if (message) value = **message;
    return message.status();
  }
  // consume() of messages whose values may be beside their payloads, which are held meanwhile.
  template <class Callback>
  BatchResult receive_each(Callback& callback, Timeout timeout, std::size_t limit) {
    BatchResult done;
    while (done.count < limit) {
      const Result<TypedMessage<T>> message = receive(done.count == 0 ? timeout : Timeout(Duration::zero()));
      done.status = message.status();
      if (!message) {
        const bool was_one = done.status == Status::malformed || done.status == Status::failed;
        if (was_one) ++done.count;
        // What else there is to say the next call says.
        if (!was_one && done.status != Status::unreachable && done.count != 0) done.status = Status::ok;
        return done;
      }
      ++done.count;
      if (!goes_on_after(callback, message->view())) return done;
    }
    return done;
  }
  Consumer consumer_;
};

}  // namespace ipcq

#pragma pop_macro("Status")
