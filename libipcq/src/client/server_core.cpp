#include "client/server_core.hpp"

#include <algorithm>
#include <cstring>
#include <exception>
#include <string>

#include "ipcq/error.hpp"
#include "layout/forwarded_call.hpp"

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
      wait_(options.wait) {}

ServerCore::Worth ServerCore::worth_of(ipcq::Request& request, bool lay_there) noexcept {
  const bool passed_on = (schema_of(consumer_.held_of(request.message_)) & kForwardedCall) != 0;
  if (passed_on) {
    if (const Worth w = open_forwarded(request); w != Worth::to_be_answered) return w;
  }
  if (!home(request).has_call(request.id())) return Worth::nothing;
  if (!lay_there && !passed_on) return Worth::to_be_answered;
  const auto here = side(request);
  const std::uint64_t deadline = here.deadline();
  const bool is_awaited = here.is_awaited() && (deadline == kNever || now_ns() < deadline);
  return is_awaited ? Worth::to_be_answered : Worth::nothing;
}

const CallHome& ServerCore::home_of_generation(std::uint64_t generation) {
  const auto known = std::find_if(homes_.begin(), homes_.end(), [&](const CallHome& h) {
    return h.queue->config().segment.generation == generation;
  });
  if (known != homes_.end()) return *known;
  const auto is_closed = [](const CallHome& h) { return h.queue->is_closed(); };
  homes_.erase(std::remove_if(homes_.begin(), homes_.end(), is_closed), homes_.end());
  homes_.push_back(consumer_.shared_session()->find_home(generation));
  return homes_.back();
}

ServerCore::Worth ServerCore::open_forwarded(ipcq::Request& request) noexcept {
  const std::span<const std::byte> bytes = request.message_.bytes();
  ForwardedCall f;
  if (bytes.size() < sizeof f) return Worth::nothing;
  std::memcpy(&f, bytes.data(), sizeof f);
  if (f.home == 0) return Worth::nothing;
  try {
    const CallHome& home = home_of_generation(f.home);
    if (spare_.empty()) {
      forwarded_.push_back(std::make_unique<ForwardedRequest>());
      spare_.reserve(forwarded_.size());
      spare_.push_back(forwarded_.back().get());
    }
    spare_.back()->home = home;
  } catch (const NotFoundError&) {  // with whoever has asked there
    return Worth::nothing;
  } catch (const std::exception& e) {
    consumer_.shared_session()->log(LogLevel::warning,
                                    std::string("a request that was passed on goes back to its group: ") + e.what());
    return Worth::unknown;
  }
  ForwardedRequest& found = *spare_.back();
  const PoolMap& pool = *found.home.pool;
  found.slot = {kNone, 0};
  found.bytes = bytes.subspan(sizeof f);
  if (f.slot != kNone) {
    if (!pool.pool().is_payload(f.slot) || f.length > pool.config().slot_bytes || !pool.has_host_payloads())
      return Worth::nothing;
    found.slot = {f.slot, f.lease};
    found.bytes = {pool.payload(f.slot), f.length};
  }
  spare_.pop_back();
  request.forwarded_ = &found;
  return Worth::to_be_answered;
}

void ServerCore::end_forwarded(ipcq::Request& request, bool keeps_slot) noexcept {
  ForwardedRequest& f = *request.forwarded_;
  if (f.slot.slot != kNone && !keeps_slot && f.home.pool->pool().release(f.slot.slot, f.slot.lease, kServers)) {
    publisher_fence();
    ring(f.home.pool->control().free);
  }
  IPCQ_CRASH_POINT("forwarded.slot_freed");
  f.home = {};
  spare_.push_back(&f);
  request.forwarded_ = nullptr;
}

Status ServerCore::receive(ipcq::Request& request, Duration timeout) noexcept {
  Deadline deadline(timeout);
  deadline.start();
  for (std::uint64_t passed = 0;;) {
    // What comes while this waits has just been asked, where no executor has had it, and no pause has held it up. Only
    // what lay there may be nobody's by now, which costs a look at the caller's entry.
    Status s = consumer_.receive(request.message_, Duration::zero());
    const auto& ring_of = queue().ring();
    const bool lay_there = s == Status::ok || ring_of.has_handler() || ring_of.cursor(1 + kServers).paused;
    if (s == Status::empty && deadline.was_given_time()) s = consumer_.receive_any(request.message_, deadline);
    if (s != Status::ok) return s;
    const Worth worth = worth_of(request, lay_there);
    if (worth == Worth::to_be_answered) {
      request.core_ = this;
      return Status::ok;
    }
    if (worth == Worth::unknown) {
      (void)consumer_.nack(request.message_);
      return Status::unreachable;
    }
    if (request.forwarded_ != nullptr) end_forwarded(request, false);
    (void)consumer_.release(request.message_);
    count_cancelled();
    // What is there is received, but a call is not to run on for ever.
    if (++passed >= queue().ring().lines() && deadline.has_passed()) return deadline.outcome(Status::empty);
  }
}

void ServerCore::count_cancelled() noexcept { endpoint_.cancelled.store(++cancelled_, std::memory_order_relaxed); }

SlotLoan ServerCore::slot_of_request(const ipcq::Request& request) const noexcept {
  return request.forwarded_ == nullptr ? slot_of(consumer_.descriptor(request.message_)) : request.forwarded_->slot;
}

std::span<std::byte> ServerCore::room(const ipcq::Request& request) const noexcept {
  const SlotLoan slot = slot_of_request(request);
  const PoolMap& pool = home_pool(request);
  if (!pool.pool().is_payload(slot.slot) || !pool.has_host_payloads()) return {};
  return {pool.payload(slot.slot), pool.config().slot_bytes};
}

std::uint64_t ServerCore::deadline_of(const ipcq::Request& request) const noexcept { return side(request).deadline(); }

bool ServerCore::is_cancelled(const ipcq::Request& request) const noexcept {
  return consumer_.is_unusable() || !side(request).is_awaited();
}

std::span<std::byte> ServerCore::open_room(const ipcq::Request& request) const noexcept {
  if (consumer_.is_unusable()) return {};
  const std::span<std::byte> room = this->room(request);
  if (!room.empty()) side(request).begin_to_change();
  return room;
}

Status ServerCore::begin(const ipcq::Request& request, bool over_request, Deadline& deadline) const noexcept {
  using Begun = AnswerSide<SharedAtomics>::Begun;
  const auto here = side(request);
  const QueueMap& queue = home(request);
  for (;;) {
    const Begun b = here.begin(over_request);
    if (b != Begun::unread) return b == Begun::yes ? Status::ok : Status::cancelled;
    const std::uint64_t until = std::min(deadline.at_ns(), here.deadline());
    const Status s = wait_until(queue.bell_of_call(request.id()), wait_, until,
                                consumer_.shared_session()->interruption(queue), [&] { return !here.is_unread(); });
    if (s == Status::ok) continue;
    if (s != Status::timeout) return s;
    return now_ns() < here.deadline() ? deadline.outcome(Status::full) : Status::cancelled;
  }
}

Status ServerCore::answer(ipcq::Request& request, Answer kind, std::span<const std::byte> bytes, std::uint32_t code,
                          bool more, Deadline& deadline) noexcept {
  if (consumer_.is_unusable()) return Status::closed;
  const auto here = side(request);
  here.fetch();
  const std::size_t in_entry = answer_bytes(home(request).config().inline_bytes);
  if (kind == Answer::failure) bytes = bytes.first(std::min(bytes.size(), in_entry));
  const bool in_slot = bytes.size() > in_entry;
  const std::span<std::byte> room = in_slot ? this->room(request) : std::span<std::byte>();
  if (bytes.size() > std::max(room.size(), in_entry)) return Status::too_large;
  if (const Status s = begin(request, in_slot, deadline); s != Status::ok) {
    return s == Status::cancelled ? finish_cancelled(request) : s;
  }
  const SlotLoan slot = in_slot ? slot_of_request(request) : SlotLoan{};
  if (!bytes.empty()) std::memmove(in_slot ? room.data() : here.data(), bytes.data(), bytes.size());
  here.place(static_cast<std::uint32_t>(bytes.size()), kind == Answer::failure ? code : slot.slot, slot.lease);
  if (!here.publish(kind, in_slot, more)) return finish_cancelled(request);
  wake(request);
  if (more) return Status::ok;
  using After = AnswerSide<SharedAtomics>::After;
  return finish(request, in_slot ? After::handed_over : After::release);
}

AnswerSide<SharedAtomics>::After ServerCore::finish_call(const ipcq::Request& request,
                                                         const AnswerSide<SharedAtomics>::Last& last,
                                                         bool redelivers) noexcept {
  const auto after = side(request).finish(last, redelivers, slot_of_request(request));
  wake(request);
  return after;
}

Status ServerCore::finish(ipcq::Request& request, AnswerSide<SharedAtomics>::After after) noexcept {
  request.core_ = nullptr;
  if (request.forwarded_ != nullptr) {  // what its message has is the home's, or a copy
    using After = AnswerSide<SharedAtomics>::After;
    end_forwarded(request, after != After::release);
    return after == After::give_back ? consumer_.nack(request.message_) : consumer_.release(request.message_);
  }
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
  const auto here = side(request);
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
