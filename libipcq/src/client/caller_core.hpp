// The client's side of calls: requests, and what comes for them. docs/design/calls.md. For the client's thread.
//
// Invariant: the entries of this endpoint's block are opened by this object alone, and only when they are free. Of each
// call that is under way it knows the entry; what it knows of none it has closed.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "client/answer_collector.hpp"
#include "client/call_order.hpp"
#include "client/call_sender.hpp"
#include "ipcq/calls.hpp"
#include "protocol/calls.hpp"

namespace ipcq::detail {

class CallerCore {
 public:
  CallerCore(std::shared_ptr<SessionCore> session, const Attachment& attachment, const ClientOptions& options);

  Result<Call> request(std::span<const std::byte> bytes, Deadline& deadline, Duration room_for) noexcept;
  Result<Call> request(Loan& loan, std::size_t length, Deadline& deadline, Duration room_for) noexcept;
  Result<Loan> loan(Deadline& deadline) noexcept;
  Status forward(ipcq::Request& request, Deadline& deadline) noexcept;
  Status receive(Call& call, Deadline& deadline, ipcq::Reply& reply) noexcept;
  std::string_view failure_text(const Call& call) const noexcept;
  void cancel(Call& call) noexcept;
  Result<std::uint64_t> wait_any(Deadline& deadline) noexcept;

  int fd();
  void rest() noexcept;  // after a call that has found nothing
  void close() noexcept {
    ready_fd_.reset();
    producer_.close(false);
  }
  bool is_forked_child() const noexcept { return producer_.is_forked_child(); }
  // Whether calls or loans refer to this object.
  bool is_referred_to() const noexcept { return !under_way_.empty() || producer_.has_loans(); }
  const std::shared_ptr<SessionCore>& shared_session() const noexcept { return producer_.shared_session(); }
  const ProducerCore& producer() const noexcept { return producer_; }
  const QueueMap& queue() const noexcept { return *producer_.queue(); }
  std::size_t inline_reply_bytes() const noexcept { return answer_bytes_; }
  std::size_t calls_under_way() const noexcept { return under_way_.size(); }

 private:
  // An entry of the block that has a call under way.
  struct UnderWay {
    std::uint64_t deadline = kNever;
    std::uint32_t number = 0;  // with which it began; it has another once its request was passed on
    bool read = false;         // the caller has what the word says
    bool more = false;         // and was told that more may come
  };

  bool is_closed() const noexcept { return producer_.shared_session() == nullptr || is_forked_child(); }
  std::uint32_t entry_of(std::uint32_t in_block) const noexcept { return first_ + in_block; }
  std::uint32_t in_block(const Call& call) const noexcept { return call_entry(call.id_) - first_; }
  CallerSide<SharedAtomics> side(std::uint32_t in_block) const noexcept {
    return CallerSide<SharedAtomics>(queue().calls()[entry_of(in_block)]);
  }
  const PoolMap& pool() const noexcept { return *producer_.pool(); }
  bool lacks_server() const noexcept {
    return needs_server_ && !collector_ && queue().control().servers.load(std::memory_order_acquire) == 0;
  }

  bool has_collectable() const noexcept { return collector_ && collector_->has_work(); }
  // Waits until a look finds an answer (ok), where clients collect those also for others. `look()` has no side effects
  // that matter if it returns false. Other statuses as wait_until().
  Status wait_for_answer(std::uint64_t until, const auto& look) noexcept;
  // Waits for room in short rounds: what this client has not read may be all that keeps it from having some. A timeout
  // before the deadline says so.
  Status in_rounds(Deadline& deadline, const auto& attempt) noexcept;
  // The steps of request(). `send(id, round)` publishes it.
  template <class Send>
  Result<Call> make_call(Deadline& deadline, Duration room_for, const Send& send) noexcept;
  // An entry that is free, taken from free_; kNone: there is none.
  std::uint32_t take_entry() noexcept;
  // Whether a call has a reply that keeps a slot, or its server, from others.
  bool keeps_room() const noexcept;
  // Closes the entry of a call, which is over then with this status.
  void end(Call& call, Status over) noexcept;
  bool close_entry(std::uint32_t in_block) noexcept;
  // What an answered call has. ok: `reply` is it.
  Status show(Call& call, const CallWord& word, ipcq::Reply& reply) noexcept;
  // After what was shown was read, and there is more: lets the server send it. False: nothing follows.
  bool go_on(std::uint32_t in_block) noexcept;
  // The same. False: the call is over.
  bool go_on_or_end(Call& call) noexcept;
  // Whether receive() of the call would return something new.
  bool has_news(std::uint32_t in_block, std::uint64_t now) const noexcept;

  ProducerCore producer_;
  CallSender sender_;
  const std::uint32_t first_;    // entry of the block
  const std::uint32_t entries_;  // of the block
  Doorbell& bell_;
  const std::size_t answer_bytes_;
  std::optional<AnswerCollector> collector_;  // where the queue's handler answers
  const Wait wait_;
  const bool in_slots_;
  const bool needs_server_;
  const bool is_rejecting_;            // the queue's backpressure
  std::unique_ptr<ReadyFd> ready_fd_;  // once it was asked for
  std::vector<UnderWay> entry_;        // of the block
  CallOrder under_way_;                // entries of the block
  std::vector<std::uint32_t> free_;    // likewise, in no order
};

}  // namespace ipcq::detail
