// The consumer's data path: receive, release, give back. docs/design/ring.md, "Receive".
//
// For the consumer's thread, except where a function says otherwise: release() and nack() touch only shared words and
// members that do not change, so a message may end in any thread, but not while close() runs.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "base/deadline.hpp"
#include "client/early_payload.hpp"
#include "client/message_wait.hpp"
#include "client/ready_fd.hpp"
#include "client/record_source.hpp"
#include "ipcq/consumer.hpp"
#include "queue/device_side.hpp"

namespace ipcq::detail {

// More than 25 members: what Consumer and Message call, what ipcq::cuda receives by, and what forward() asks of it.
class ConsumerCore {
 public:
  ConsumerCore(std::shared_ptr<SessionCore> session, Attachment attachment, const ConsumerOptions& options);
  ~ConsumerCore();
  ConsumerCore(const ConsumerCore&) = delete;
  ConsumerCore& operator=(const ConsumerCore&) = delete;

  // Who passes a deadline makes it once for its whole call.
  Status receive(Message& message, Duration timeout) noexcept;  // into an empty message
  BatchResult receive_many(std::span<Message> batch, Deadline& deadline) noexcept;
  // Whether consume() has a claim open, or runs its callback. Then nothing else may take.
  bool is_consuming() const noexcept { return consuming_.load(std::memory_order_relaxed); }

  // For ipcq::cuda: takes a message of a device queue as soon as it is published. Its payload may be incomplete; the
  // flag kBeforeExecutor of `d` says that `d` is from the `in` line. From one thread at a time, and not while receive()
  // runs. Returns `timeout` before its time once `roused` is true.
  IPCQ_INTERNAL_API Status receive_early(Message& message, Descriptor& d, Deadline& deadline,
                                         const std::atomic<bool>* roused = nullptr) noexcept;
  // Wakes the thread that waits in receive_early(), which then observes the `roused` that the caller has set. From any
  // thread.
  IPCQ_INTERNAL_API void rouse_early() noexcept;
  const std::shared_ptr<PoolMap>& shared_pool() const noexcept { return pool_; }
  const std::shared_ptr<QueueMap>& queue() const noexcept { return queue_; }
  bool uses_cuda() const noexcept { return uses_cuda_; }
  std::shared_ptr<DeviceSide>& device_side() noexcept { return device_side_; }

  // Both from any thread.
  Status release(Message& message) noexcept;
  Status nack(Message& message) noexcept;

  // Closes the endpoint at the broker, which gives the messages still held back to the group. Idempotent.
  void close() noexcept;
  // The first part of close(): waits, within a bound, until streams have released the messages that they read.
  void close_device_side() noexcept {
    if (device_side_) device_side_->close();
  }
  // Whether a held entry of the queue still has a message of this consumer.
  bool holds_any() const noexcept;
  const std::shared_ptr<SessionCore>& shared_session() const noexcept { return keep_; }

  // As Consumer::fd(), of one that is open and uses no ipcq::cuda. From the consumer's thread, as rest_after(), by
  // which each call returns that may have found nothing.
  int fd() {
    if (!ready_fd_) {
      Doorbell& bell = queue_->control().ready[member_.group()];
      ready_fd_ = std::make_unique<ReadyFd>(session_->bell_watches(), bell, queue_->attendant());
    }
    return ready_fd_->get();
  }
  Status rest_after(Status s) noexcept {
    if (ready_fd_ && has_found_nothing(s)) [[unlikely]]
      ready_fd_->rest([this] { return message_wait_.has_news(member_); });
    return s;
  }

  void use_records(std::unique_ptr<RecordSource> records) noexcept { records_ = std::move(records); }
  // Gives back what the consumer holds itself: the rest of a record batch.
  void stop_showing() noexcept {
    if (records_) records_->stop();
  }

  // For forward().
  const PoolMap& pool() const noexcept { return *pool_; }
  unsigned group() const noexcept { return member_.group(); }
  static bool is_record(const Message& message) noexcept {
    return (message.hold_.entry & RecordSource::kRecordBit) != 0;
  }
  Descriptor descriptor(const Message& message) const noexcept;
  Held& held_of(const Message& message) const noexcept { return member_.held(message.hold_.entry); }
  // Frees the message's held entry and keeps the group's bit in the slot, which an alias clears later. False: the entry
  // was not this consumer's any more.
  bool hand_over(Message& message) noexcept;
  bool is_forked_child() const noexcept { return epoch_ != fork_epoch(); }
  bool is_unusable() const noexcept { return closed_.load(std::memory_order_relaxed) || is_forked_child(); }

 private:
  friend class Consumption;
  friend class ServerCore;
  friend class CopyingReceive;
  friend class RecordReader;
  // Waits until attempt() has taken messages into held entries, as `member` does. `entry` refers to where it writes the
  // index of the first.
  template <class Member, class Attempt>
  Status take(Member& member, const Attempt& attempt, const std::uint32_t& entry, Deadline& deadline, Taken& taken,
              const std::atomic<bool>* roused = nullptr) noexcept;
  template <class Member>
  Status take_one(Member& member, std::uint32_t& entry, Deadline& deadline,
                  const std::atomic<bool>* roused = nullptr) noexcept;
  // Not with a handler of the user's: what it makes of a message only its line tells (EarlyPayload).
  bool takes_early() const noexcept { return queue_->on_device() && !queue_->runs_an_image(); }
  // As EarlyPayload::Outcome; filtered: the handler has dropped the message.
  enum class Payload : std::uint8_t { there, lost, not_yet, filtered };
  Status await_device_side(Deadline& deadline) noexcept;
  // After a message that the handler has dropped, or several at once: whether a call looks for the next before anything
  // else. What is there is received, whatever has happened meanwhile; but a call is not to run on for ever.
  bool goes_on_after(std::uint64_t& passed) const noexcept { return ++passed < ring_.lines(); }
  // Makes `view` one of a message that was not delivered before, counted as delivered. Refers to `bytes`.
  void show(MessageView& view, const Descriptor& d, const std::byte* bytes, std::uint64_t ticket) noexcept {
    view.m_.ticket = ticket;
    view.m_.redeliveries = 0;
    view.m_.record = 0;
    describe(view, d, bytes);
    ++messages_;
  }
  void show(MessageView& view, const PackedUnits& p, const std::byte* bytes, std::uint64_t ticket) noexcept {
    view.m_.data = bytes;
    view.m_.sequence = p.sequence;
    view.m_.ticket = ticket;
    view.m_.published_at_ns = 0;
    view.m_.length = static_cast<std::uint32_t>(HeadBits::Length::get(p.head));
    view.m_.producer = static_cast<std::uint32_t>(p.producer);
    view.m_.record = 0;
    view.m_.redeliveries = 0;
    view.m_.flaw = 0;  // the usual head has no flags
    ++messages_;
    bytes_ += view.m_.length;
  }
  // What a descriptor says of the message, and its bytes, which are counted.
  void describe(MessageView& view, const Descriptor& d, const std::byte* data) noexcept {
    view.m_.data = data;
    view.m_.length = d.length;
    view.m_.sequence = d.sequence;
    view.m_.producer = d.producer;
    view.m_.published_at_ns = d.published_at_ns;
    view.m_.flaw = d.flags & (kNotProcessed | kHandlerFailed);
    view.m_.failure = d.priority;
    bytes_ += d.length;
  }
  // Makes `message` from a held entry. Releases the message if its payload is lost, or its handler has dropped it; puts
  // it back if the payload is not there yet. With `early` the payload may be incomplete, and `*early` receives the
  // descriptor.
  Payload fill(Message& message, std::uint32_t entry, std::uint8_t unwinding, Deadline& deadline,
               Descriptor* early = nullptr) noexcept;
  // fill(), into an empty message, for one that was not delivered before. `p`: what its line said. False: it has no
  // usual head, or is damaged; fill() says what.
  bool deliver_usual(Message& message, std::uint32_t entry, std::uint64_t ticket, const PackedUnits& p,
                     std::uint8_t unwinding) noexcept;
  void show_counters() const noexcept;  // not once closed
  // Those that change with a message that was not delivered before.
  void show_first_deliveries() const noexcept {
    endpoint_.messages.store(messages_, std::memory_order_relaxed);
    endpoint_.bytes.store(bytes_, std::memory_order_relaxed);
  }
  // Whether a receive may begin with the usual case of a plain line.
  bool may_take_next() const noexcept {
    return usual_lines_ && device_side_ == nullptr && !is_unusable() && !is_consuming();
  }
  // After the message of a ticket was taken: fetches a line to be read a little later, if it is known to be written.
  void fetch_ahead(std::uint64_t ticket) noexcept {
    constexpr std::uint64_t kTicketsPerLook = 32;  // at the producers' cursor, which they write with each message
    if (ring_.out_lines().fetch_ahead(ticket, written_)) return;
    if (ticket % kTicketsPerLook == 0 && !ring_.has_handler()) written_ = ring_.cursor_word(kProducers).lo;
  }
  // receive() in all other cases.
  [[gnu::noinline]] Status receive_other(Message& message, Duration timeout) noexcept;
  [[gnu::noinline]] Status receive_any(Message& message, Deadline& deadline) noexcept;
  // receive_any() of a whole message, which may be a record batch.
  Status receive_message(Message& message, Deadline& deadline) noexcept;
  [[gnu::noinline]] Status release_slot(std::uint32_t entry, std::uint32_t deliveries) noexcept;
  // Members that wait for the end of the stream wait until its last message is released.
  bool is_at_end() const noexcept { return queue_->control().end_ticket.load(std::memory_order_relaxed) != kNoTicket; }
  // Wakes who waits for a slot, or for the end of the stream. Returns ok.
  [[gnu::noinline]] Status announce_release(bool slot_freed, bool ending) noexcept;
  void take_back(Message& message) noexcept;  // puts back what was counted as delivered and was not
  void uncount(const Message& message) noexcept {
    bytes_ -= message.length();
    --(message.hold_.deliveries == 0 ? messages_ : redelivered_);
  }
  void put_back(std::uint32_t entry) noexcept;  // for a message that was not delivered
  void after_return() noexcept;

  std::shared_ptr<SessionCore> keep_;  // null once closed: the session owns a retired core, not the reverse
  SessionCore* session_;               // not used once closed
  std::shared_ptr<QueueMap> queue_;
  std::shared_ptr<PoolMap> pool_;
  Ring<SharedAtomics> ring_;
  GroupMember<SharedAtomics> member_;
  GroupMember<SharedAtomics, PublishedView<SharedAtomics>> early_;
  InPlaceReader<SharedAtomics> in_place_;
  MessageWait message_wait_;
  Endpoint& endpoint_;
  std::uint32_t client_;
  std::uint64_t written_ = 0;  // tickets before this one were claimed, at least: their lines are written, or soon
  std::uint64_t messages_ = 0;
  std::uint64_t redelivered_ = 0;
  std::uint64_t bytes_ = 0;  // not beside messages_: GCC would add to both in a vector, which takes 3 times as long
  std::uint64_t damaged_ = 0;
  std::uint64_t filtered_ = 0;
  const bool usual_lines_;              // plain, and no message is a record batch
  bool expects_slot_ = false;           // the last message of receive() was in one
  bool took_over_ = false;              // an orphan, which stays in a held entry of another member's block
  std::atomic<bool> consuming_{false};  // read by a poll thread of ipcq::cuda, too
  bool uses_cuda_ = false;
  std::atomic<bool> closed_{false};
  const std::uint32_t epoch_ = fork_epoch();
  std::shared_ptr<DeviceSide> device_side_;  // once ipcq::cuda is used
  std::unique_ptr<ReadyFd> ready_fd_;        // once it was asked for
  std::unique_ptr<RecordSource> records_;    // in a queue with batch=records
};

}  // namespace ipcq::detail
