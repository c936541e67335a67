#include "client/server_core.hpp"

#include <algorithm>
#include <cstring>

namespace ipcq::detail {
namespace {

ConsumerOptions consumer_options(const ServerOptions& o) {
  return {.wait = o.wait, .until = Until::forever, .wait_for = o.wait_for};
}

}  // namespace

ServerCore::ServerCore(std::shared_ptr<SessionCore> session, const Attachment& attachment, const ServerOptions& options)
    : consumer_(std::move(session), attachment, consumer_options(options)),
      client_(attachment.client),
      endpoint_(attachment.queue->endpoint(attachment.endpoint)),
      answer_bytes_(answer_bytes(attachment.queue->config().inline_bytes)),
      wait_(options.wait) {}

bool ServerCore::is_worth_it(const Message& message) const noexcept {
  const auto here = side(message.sequence());
  const std::uint64_t deadline = here.deadline();
  return here.is_awaited() && (deadline == kNever || now_ns() < deadline);
}

Status ServerCore::receive(ipcq::Request& request, Duration timeout) noexcept {
  Deadline deadline(timeout);
  deadline.start();
  for (std::uint64_t passed = 0;;) {
    // What comes while this waits has just been asked, where no executor has had it. Only what lay there may be
    // nobody's by now, which costs a look at the caller's entry.
    Status s = consumer_.receive(request.message_, Duration::zero());
    const bool lay_there = s == Status::ok || queue().ring().has_handler();
    if (s == Status::empty && deadline.was_given_time()) s = consumer_.receive_any(request.message_, deadline);
    if (s != Status::ok) return s;
    if (queue().has_call(request.message_.sequence()) && (!lay_there || is_worth_it(request.message_))) {
      request.core_ = this;
      return Status::ok;
    }
    (void)consumer_.release(request.message_);
    count_cancelled();
    // What is there is received, but a call is not to run on for ever.
    if (++passed >= queue().ring().lines() && deadline.has_passed()) return deadline.outcome(Status::empty);
  }
}

void ServerCore::count_cancelled() noexcept { endpoint_.cancelled.store(++cancelled_, std::memory_order_relaxed); }

SlotLoan ServerCore::slot_of_request(const ipcq::Request& request) const noexcept {
  return slot_of(consumer_.descriptor(request.message_));
}

std::span<std::byte> ServerCore::room(const ipcq::Request& request) const noexcept {
  const SlotLoan slot = slot_of_request(request);
  const PoolMap& pool = consumer_.pool();
  if (!pool.pool().is_payload(slot.slot) || !pool.has_host_payloads()) return {};
  return {pool.payload(slot.slot), pool.config().slot_bytes};
}

std::uint64_t ServerCore::deadline_of(const ipcq::Request& request) const noexcept {
  return side(request.id()).deadline();
}

bool ServerCore::is_cancelled(const ipcq::Request& request) const noexcept {
  return consumer_.is_unusable() || !side(request.id()).is_awaited();
}

std::span<std::byte> ServerCore::open_room(const ipcq::Request& request) const noexcept {
  if (consumer_.is_unusable()) return {};
  const std::span<std::byte> room = this->room(request);
  if (!room.empty()) side(request.id()).begin_to_change();
  return room;
}

Status ServerCore::begin(std::uint64_t id, bool over_request, Deadline& deadline) const noexcept {
  using Begun = AnswerSide<SharedAtomics>::Begun;
  const auto here = side(id);
  for (;;) {
    const Begun b = here.begin(over_request);
    if (b != Begun::unread) return b == Begun::yes ? Status::ok : Status::cancelled;
    const std::uint64_t until = std::min(deadline.at_ns(), here.deadline());
    const Status s = wait_until(queue().bell_of_call(id), wait_, until,
                                consumer_.shared_session()->interruption(queue()), [&] { return !here.is_unread(); });
    if (s == Status::ok) continue;
    if (s != Status::timeout) return s;
    return now_ns() < here.deadline() ? deadline.outcome(Status::full) : Status::cancelled;
  }
}

Status ServerCore::answer(ipcq::Request& request, Answer kind, std::span<const std::byte> bytes, std::uint32_t code,
                          bool more, Deadline& deadline) noexcept {
  if (consumer_.is_unusable()) return Status::closed;
  const std::uint64_t id = request.id();
  const auto here = side(id);
  here.fetch();
  if (kind == Answer::failure) bytes = bytes.first(std::min(bytes.size(), answer_bytes_));
  const bool in_slot = bytes.size() > answer_bytes_;
  const std::span<std::byte> room = in_slot ? this->room(request) : std::span<std::byte>();
  if (bytes.size() > std::max(room.size(), answer_bytes_)) return Status::too_large;
  if (const Status s = begin(id, in_slot, deadline); s != Status::ok) {
    return s == Status::cancelled ? finish_cancelled(request) : s;
  }
  const SlotLoan slot = in_slot ? slot_of_request(request) : SlotLoan{};
  if (!bytes.empty()) std::memmove(in_slot ? room.data() : here.data(), bytes.data(), bytes.size());
  here.place(static_cast<std::uint32_t>(bytes.size()), kind == Answer::failure ? code : slot.slot, slot.lease);
  if (!here.publish(kind, in_slot, more)) return finish_cancelled(request);
  wake_caller(queue(), id);
  if (more) return Status::ok;
  using After = AnswerSide<SharedAtomics>::After;
  return finish(request, in_slot ? After::handed_over : After::release);
}

AnswerSide<SharedAtomics>::After ServerCore::finish_call(const ipcq::Request& request,
                                                         const AnswerSide<SharedAtomics>::Last& last,
                                                         bool redelivers) noexcept {
  const auto after = side(request.id()).finish(last, redelivers, slot_of_request(request));
  wake_caller(queue(), request.id());
  return after;
}

Status ServerCore::finish(ipcq::Request& request, AnswerSide<SharedAtomics>::After after) noexcept {
  request.core_ = nullptr;
  switch (after) {
    case AnswerSide<SharedAtomics>::After::release:
      return consumer_.release(request.message_);
    case AnswerSide<SharedAtomics>::After::handed_over:
      return consumer_.hand_over(request.message_) ? Status::ok : Status::not_held;
    case AnswerSide<SharedAtomics>::After::give_back:
      break;
  }
  return consumer_.nack(request.message_);
}

Status ServerCore::finish_cancelled(ipcq::Request& request) noexcept {
  count_cancelled();
  let_go(request);  // of a call that is past its deadline the caller may still read what it has
  return Status::cancelled;
}

Status ServerCore::end(ipcq::Request& request) noexcept {
  if (consumer_.is_unusable()) return Status::closed;
  const auto here = side(request.id());
  if (!here.is_awaited()) return finish_cancelled(request);
  return finish(request, finish_call(request, here.kEnded, false));
}

Status ServerCore::nack(ipcq::Request& request) noexcept {
  if (consumer_.is_unusable()) return Status::closed;
  const auto after = finish_call(request, AnswerSide<SharedAtomics>::kDied, true);
  const Status s = finish(request, after);
  return after == AnswerSide<SharedAtomics>::After::give_back ? s : Status::cancelled;
}

void ServerCore::let_go(ipcq::Request& request) noexcept {
  if (consumer_.is_unusable()) return;
  (void)finish(request, finish_call(request, AnswerSide<SharedAtomics>::kDied, false));
}

}  // namespace ipcq::detail
