// The producer's data path: loan, publish, send. docs/design/ring.md, "Publish". For the producer's thread, except
// where a function says otherwise.
#pragma once

#include <memory>
#include <utility>

#include "base/deadline.hpp"
#include "client/publish_bells.hpp"
#include "client/record_sink.hpp"
#include "client/session_core.hpp"
#include "client/slot_borrower.hpp"
#include "ipcq/producer.hpp"
#include "queue/device_side.hpp"

namespace ipcq::detail {

// More than 25 members: what Producer and Loan call, and the single steps of these, by which ipcq::cuda publishes.
class ProducerCore {
 public:
  ProducerCore(std::shared_ptr<SessionCore> session, Attachment attachment, Wait wait);
  ~ProducerCore();
  ProducerCore(const ProducerCore&) = delete;
  ProducerCore& operator=(const ProducerCore&) = delete;

  // The caller makes the deadline, once for its whole call.
  Result<Loan> loan(Deadline& deadline) noexcept;
  Status publish(Loan& loan, std::size_t length, Deadline& deadline) noexcept;
  void drop(Loan& loan) noexcept;  // gives the slot back
  // This one makes its deadline itself, if it needs one.
  Status send(std::span<const std::byte> bytes, Duration timeout) noexcept;
  // `more`: the same call goes on with other payloads; end_batch() follows.
  BatchResult send_many(std::span<const std::span<const std::byte>> batch, Deadline& deadline,
                        bool more = false) noexcept;
  void use_records(std::unique_ptr<RecordSink> records) noexcept { packer_ = std::move(records); }
  // After the last send_many() of a call. Payloads that it has left in an open batch are not sent.
  void end_batch() noexcept {
    if (packer_) packer_->abandon();
  }

  // For ipcq::cuda: the steps of loan() and publish(), for a payload that a GPU writes. `flags` are those of the line.
  // `kept`: no group reads the message and its payload is not complete (no kPayloadReady), so the caller still has the
  // slot, and gives it back later.
  IPCQ_INTERNAL_API Status borrow(Deadline& deadline, SlotLoan& loan) noexcept;
  void mark_for_gpu(const SlotLoan& loan, LoanWriter writer) noexcept {
    if (!is_unusable()) pool_->pool().mark_for_gpu(loan, client_, writer);
  }
  IPCQ_INTERNAL_API Status publish_slot(const SlotLoan& loan, std::size_t length, std::uint8_t flags,
                                        Deadline& deadline, bool& kept) noexcept;
  IPCQ_INTERNAL_API void give_back(const SlotLoan& loan) noexcept;  // from any thread
  const std::shared_ptr<PoolMap>& pool() const noexcept { return pool_; }
  const std::shared_ptr<QueueMap>& queue() const noexcept { return queue_; }
  bool uses_cuda() const noexcept { return uses_cuda_; }
  std::shared_ptr<DeviceSide>& device_side() noexcept { return device_side_; }

  void close(bool broken_off) noexcept;
  bool is_forked_child() const noexcept { return epoch_ != fork_epoch(); }
  bool is_unusable() const noexcept { return closed_ || is_forked_child(); }
  bool has_loans() const noexcept { return loans_ != 0; }
  const std::shared_ptr<SessionCore>& shared_session() const noexcept { return keep_; }
  std::size_t slot_bytes() const noexcept { return pool_->config().slots == 0 ? 0 : pool_->config().slot_bytes; }
  std::size_t inline_bytes() const noexcept { return inline_bytes_; }
  std::uint32_t client() const noexcept { return client_; }

 private:
  friend class CallForwarding;
  friend class CallSender;
  friend class Forwarding;
  friend class RecordPacker;

  // send() where it may have to wait, or needs a slot, or the last claim was not this producer's of one ticket.
  Status send_any(std::span<const std::byte> bytes, Deadline& deadline) noexcept;
  [[gnu::noinline]] Status send_any_within(std::span<const std::byte> bytes, Duration timeout) noexcept;
  Status send_in_slot(std::span<const std::byte> bytes, Deadline& deadline) noexcept;
  // publish_slot() of a payload that this thread has written on the CPU.
  Status publish_filled(const SlotLoan& slot, std::size_t length, std::uint8_t flags, Deadline& deadline) noexcept;
  Status claim(std::uint32_t want, Deadline& deadline, PublishClaim& claim) noexcept;
  // claim() of one ticket, in the short way if there is one.
  Status claim_one(Deadline& deadline, PublishClaim& c) noexcept;
  Status claim_slow(std::uint32_t want, Deadline& deadline, PublishClaim& claim) noexcept;
  Status borrow_slow(Deadline& deadline, SlotLoan& loan) noexcept;
  // Waits until try_now() has room, as the backpressure says. `full`: the policy is reject, or the call was given no
  // time. After a second it warns, once per producer, of a group without consumers that holds the queue full.
  Status wait_for_room(bool for_slot, Deadline& deadline, const auto& try_now) noexcept;
  void warn_of_unread(bool for_slot) noexcept;
  // Discards one message, if the policies allow it, for a slot (`for_slot`) or for a line. True: try again, since this
  // or another party has discarded or taken one.
  bool make_room(bool for_slot) noexcept;
  // Writes the claimed line of a message in a slot, of which `d` lacks the producer alone. If no group is to read it,
  // it becomes a tombstone, and a complete payload's slot or alias goes back.
  void publish_line(std::uint64_t ticket, std::uint8_t groups, Descriptor& d) noexcept;
  // The same for inline messages, one for each ticket of the claim. `batch`: at least so many.
  void publish_inline(const PublishClaim& c, const std::span<const std::byte>* batch) noexcept;
  void publish_inline_tagged(std::uint64_t ticket, std::uint8_t groups, std::span<const std::byte> bytes) noexcept;
  // Rings the bells of parties that wait for a published line, and stores the endpoint's counters.
  void after_publish(std::uint8_t groups) noexcept {
    show_counters();
    (void)bells_.ring(groups);
  }
  void show_counters() const noexcept {
    endpoint_.messages.store(sequence_, std::memory_order_relaxed);
    endpoint_.bytes.store(bytes_, std::memory_order_relaxed);
  }

  std::shared_ptr<SessionCore> keep_;  // null once closed: the session owns a retired core, not the reverse
  SessionCore* session_;               // not used once closed
  std::shared_ptr<QueueMap> queue_;
  std::shared_ptr<PoolMap> pool_;
  Ring<SharedAtomics> ring_;
  const std::size_t inline_bytes_;
  const std::size_t plain_end_;  // inline_bytes_ + 1 where lines are plain, else 0
  std::uint64_t mine_ = kNever;  // what the last claim left in the cursor, for Ring::claim_next(); kNever: not usable
  std::uint32_t client_;
  Endpoint& endpoint_;
  PublishBells bells_;
  Wait wait_;
  Backpressure backpressure_;
  SlotBorrower slots_;
  std::uint64_t limit_ = 0;     // first ticket whose line is not known to be free
  std::uint64_t sequence_ = 0;  // of the next message
  std::uint64_t bytes_ = 0;
  BackOff<SharedAtomics> back_off_;
  std::uint32_t alias_hint_ = 0;
  std::uint32_t loans_ = 0;
  bool uses_cuda_ = false;
  int exceptions_ = 0;  // in flight when the producer was opened
  const std::uint32_t epoch_ = fork_epoch();
  bool closed_ = false;
  bool warned_ = false;                      // of a group without consumers
  std::shared_ptr<DeviceSide> device_side_;  // once ipcq::cuda is used
  std::unique_ptr<RecordSink> packer_;       // in a queue with batch=records
};

}  // namespace ipcq::detail
