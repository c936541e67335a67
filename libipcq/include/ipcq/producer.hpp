// Producer: publishes messages to one queue. One per thread; not thread-safe. Must not outlive its Session. Data path
// calls return a Status and never throw; Session::interrupt() ends their waits from another thread.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>

#include "ipcq/message.hpp"

#pragma push_macro("Status")  // Xlib's, for int
#undef Status

namespace ipcq {

namespace detail {
struct CudaAccess;
}

// What can be sent as it lies in memory: a contiguous range of trivially copyable values, such as std::string,
// std::string_view, std::vector<float>, std::array, std::span. Not of pointers or views: what they refer to lies
// elsewhere; a range of payloads goes by send_many().
template <class R>
concept Payload =
    std::ranges::contiguous_range<R> && std::ranges::sized_range<R> &&
    std::is_trivially_copyable_v<std::ranges::range_value_t<R>> && !std::is_pointer_v<std::ranges::range_value_t<R>> &&
    !std::ranges::view<std::ranges::range_value_t<R>>;

// Elements of text: char and its siblings of other widths.
template <class C>
concept Character = std::same_as<C, char> || std::same_as<C, wchar_t> || std::same_as<C, char8_t> ||
    std::same_as<C, char16_t> || std::same_as<C, char32_t>;

// The bytes of a payload. A string literal, or another array of const characters, goes as text: without its terminating
// zero.
template <Payload R>
std::span<const std::byte> payload_bytes(R&& range) noexcept {
  return std::as_bytes(std::span(std::ranges::data(range), std::ranges::size(range)));
}
template <Character C, std::size_t N>
std::span<const std::byte> payload_bytes(const C (&text)[N]) noexcept {
  return std::as_bytes(std::span(text, text[N - 1] == C{} ? N - 1 : N));
}

struct ProducerOptions {
  Wait wait = Wait::hybrid();
  Timeout wait_for = Duration::zero();  // how long to wait for the queue to appear
  bool cuda = false;                    // this producer uses <ipcq/cuda.hpp>
  // The type of what it sends (ipcq/schema.hpp), which must be the queue's; empty: any bytes. TypedProducer sets it.
  std::string schema{};
};

class IPCQ_API Producer {
 public:
  // An empty object, for members: every call returns Status::closed. Session::producer() opens one.
  Producer() noexcept;
  explicit Producer(std::unique_ptr<detail::ProducerCore> core) noexcept;
  Producer(Producer&&) noexcept;
  Producer& operator=(Producer&&) noexcept;
  // close(); or break_off() while an exception that was thrown since the producer was opened unwinds the stack. So
  // after an error throw through the producer's scope or call break_off(): returning normally ends the stream.
  ~Producer();

  // Borrows a free slot of slot_bytes(). Waits for one as the queue's backpressure says, `timeout` at most.
  // Statuses: ok, full (policy reject, or a zero time-out), timeout, closed, peer_dead, interrupted; too_large: the
  // queue has no slots; unreachable: they are in device memory alone (mirror=none), where ipcq::cuda reaches them.
  [[nodiscard]] Result<Loan> loan(Timeout timeout = kForever) noexcept;

  // Copies the payload into one message. A payload of up to inline_bytes() is part of the line and needs no slot. Waits
  // for a slot and a line as loan(). A string literal is sent without its terminating zero, a non-const array of
  // characters whole. Statuses as loan(), except: too_large: more than max_bytes(); unreachable: more than
  // inline_bytes(), and the slots are in device memory alone.
  [[nodiscard]] Status send(std::span<const std::byte> bytes, Timeout timeout = kForever) noexcept;
  [[nodiscard]] Status send(const void* data, std::size_t length, Timeout timeout = kForever) noexcept {
    return send(std::span(static_cast<const std::byte*>(data), length), timeout);
  }
  template <Payload R>
  requires(!std::convertible_to<R&&, std::span<const std::byte>>) [[nodiscard]] Status
      send(R&& range, Timeout timeout = kForever) noexcept {
    return send(payload_bytes(range), timeout);
  }

  // Sends the messages in order; inline messages claim their tickets in runs. Stops at the first that fails, whose
  // status it returns with the number of messages sent; statuses as send(). `timeout` is for all of them together. With
  // QueueOptions::batch `records` they travel as records, many in one message, for which this waits for a slot; what
  // makes the range's elements must not send to the same producer.
  [[nodiscard]] BatchResult send_many(std::span<const std::span<const std::byte>> batch,
                                      Timeout timeout = kForever) noexcept;
  // The same for any range of payloads, such as std::vector<std::string>.
  template <std::ranges::forward_range Batch>
  requires(Payload<std::ranges::range_reference_t<Batch>> &&
           !std::convertible_to<Batch&&, std::span<const std::span<const std::byte>>>) [[nodiscard]] BatchResult
      send_many(Batch&& batch, Timeout timeout = kForever) {
    static_assert(std::is_reference_v<std::ranges::range_reference_t<Batch>> ||
                      std::ranges::borrowed_range<std::ranges::range_reference_t<Batch>>,
                  "each payload must outlive the call: a range that makes them on the fly cannot be sent");
    BatchResult done;
    const EndOfBatch end_of_batch{*this};
    const std::uint64_t deadline = deadline_of(timeout);
    std::array<std::span<const std::byte>, kChunk> chunk;
    for (auto it = std::ranges::begin(batch); it != std::ranges::end(batch) && done.status == Status::ok;) {
      std::size_t n = 0;
      for (; n < kChunk && it != std::ranges::end(batch); ++it) chunk[n++] = payload_bytes(*it);
      const BatchResult sent = send_until(std::span(chunk).first(n), deadline, it != std::ranges::end(batch));
      done.status = sent.status;
      done.count += sent.count;
    }
    return done;
  }

  // Publishes a received message with its metadata to this producer's queue, and releases it in its own. The payload is
  // not copied if both queues share a pool. It is copied, as by send(), if they do not, if the message is inline or a
  // record (which needs a slot while its batch has one: give the queues pools of their own), or if other groups still
  // read a payload that a handler would change. On any status but `ok` the message stays held. The slot is free again
  // when both queues have released it. A crash in between may deliver the message once more. Statuses as send(), and:
  // not_held: the message is not held any more; too_large also: its metadata exceeds metadata_bytes(); unreachable also
  // if a payload must be copied that is in device memory alone (the message's queue has host_readable=no or no mirror).
  [[nodiscard]] Status forward(Message& message, Timeout timeout = kForever) noexcept;

  // Largest message in bytes, capacity of a slot (0: no slots), and largest message that needs no slot. 0 for an empty
  // object, but for inline_bytes().
  std::size_t max_bytes() const noexcept;
  std::size_t slot_bytes() const noexcept;
  std::size_t inline_bytes() const noexcept;
  // Most bytes that a message in a slot can have beside its payload (Loan::set_metadata()).
  std::size_t metadata_bytes() const noexcept;
  // Of these, what is there for typed values (ipcq/typed.hpp): all, or none where the queue has a handler.
  std::size_t metadata_for_values() const noexcept;
  // The type of the queue's messages as they go in (ipcq/schema.hpp), as of now; empty: any bytes.
  std::string schema() const;
  // This producer's id, as Message::producer() shows it; 0 for an empty object.
  std::uint32_t id() const noexcept;

  // Ends this producer's stream cleanly, whatever earlier calls returned. Waits for the broker's answer, 10 s at most;
  // a producer that has used ipcq::cuda first waits until its streams have written what they were to write, for another
  // 10 s at most. Idempotent; the destructor calls it.
  void close() noexcept;
  // Closes without ending the stream, for a producer that has failed. As after its death, consumers wait until another
  // producer opens or end_of_stream() is called. Waits as close().
  void break_off() noexcept;

 private:
  friend struct detail::CudaAccess;
  static constexpr std::size_t kChunk = 64;
  static std::uint64_t deadline_of(Timeout timeout) noexcept;
  BatchResult send_until(std::span<const std::span<const std::byte>> batch, std::uint64_t deadline, bool more) noexcept;
  // Nothing stays open, also where the range throws.
  void end_batch() noexcept;
  struct EndOfBatch {
    Producer& producer;
    ~EndOfBatch() { producer.end_batch(); }
  };
  void close(bool broken_off) noexcept;

  std::unique_ptr<detail::ProducerCore> core_;
};

}  // namespace ipcq

#pragma pop_macro("Status")
