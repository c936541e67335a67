#include "client/call_forwarding.hpp"

#include <atomic>
#include <cstring>
#include <string_view>

namespace ipcq::detail {
namespace {

// What the names of all segments of one broker begin with, and of no other's.
std::string_view broker_in(const QueueMap& queue) noexcept {
  const std::string_view name = queue.segment().name();
  return name.substr(0, name.find("+queue+"));
}

}  // namespace

Status CallForwarding::check() const noexcept {
  if (request_.core_ == nullptr) return Status::not_held;
  if (to_.is_unusable() || server().consumer_.is_unusable()) return Status::closed;
  const bool of_one_broker = broker_in(server().home(request_)) == broker_in(*to_.queue_);
  const bool is_direct = !to_.ring_.has_handler() && !to_.pool_->on_device();
  return of_one_broker && is_direct ? Status::ok : Status::unreachable;
}

ForwardedCall CallForwarding::describe() const noexcept {
  const SlotLoan slot = server().slot_of_request(request_);
  const auto length = static_cast<std::uint32_t>(request_.bytes().size());
  return {.home = server().home(request_).config().segment.generation,
          .lease = slot.lease,
          .slot = slot.slot,
          .length = length};
}

void CallForwarding::note(std::uint64_t ticket) const noexcept {
  auto& words = held().descriptor.word;
  words[5].store(ticket, std::memory_order_relaxed);
  words[6].store(to_.queue_->config().segment.generation, std::memory_order_relaxed);
  // After its ticket, so that the repair, after the death of this process, finds both.
  words[1].store(words[1].load(std::memory_order_relaxed) | std::uint64_t{kPassedOn} << 32, std::memory_order_release);
}

void CallForwarding::take_note_back() const noexcept {
  auto& words = held().descriptor.word;
  words[1].store(words[1].load(std::memory_order_relaxed) & ~(std::uint64_t{kPassedOn} << 32),
                 std::memory_order_relaxed);
}

Status CallForwarding::run(Deadline& deadline) noexcept {
  if (const Status s = check(); s != Status::ok) return s;
  const auto side = server().side(request_);
  if (side.is_unread()) return Status::full;
  if (!side.is_awaited()) return server().finish_cancelled(request_);
  ForwardedCall call = describe();
  const bool in_slot = bytes_of(call) > to_.inline_bytes();
  if (in_slot && bytes_of(call) > to_.slot_bytes()) return Status::too_large;
  SlotLoan loan{kNone, 0};
  if (in_slot) {
    if (const Status s = to_.borrow(deadline, loan); s != Status::ok) return s;
  }
  PublishClaim claim;
  if (const Status s = to_.claim_one(deadline, claim); s != Status::ok) {
    if (in_slot) to_.give_back(loan);
    return s;
  }
  IPCQ_CRASH_POINT("pass_on.claimed");
  note(claim.ticket);
  IPCQ_CRASH_POINT("pass_on.noted");
  const auto passed = side.pass_on();
  using Begun = AnswerSide<SharedAtomics>::Begun;
  if (passed != Begun::yes) {
    take_note_back();  // before there is a message: the request stays here
    call.home = 0;     // the ticket is claimed: it goes to nobody
  }
  publish(claim, call, loan);
  IPCQ_CRASH_POINT("pass_on.published");
  sender_.count(claim.groups);
  if (passed == Begun::yes) {
    end_if_closed(call);
    end_request();
    return Status::ok;
  }
  return passed == Begun::unread ? Status::full : server().finish_cancelled(request_);
}

void CallForwarding::publish(const PublishClaim& claim, const ForwardedCall& call, const SlotLoan& loan) noexcept {
  Descriptor d;
  d.kind = LineKind::inlined;
  d.length = static_cast<std::uint32_t>(bytes_of(call));
  d.producer = to_.client_;
  d.schema = kForwardedCall;
  d.sequence = id_passed_on(request_.id());
  InlineData in_line;
  std::byte* const to = loan.slot == kNone ? in_line.bytes : to_.pool_->payload(loan.slot);
  std::memcpy(to, &call, sizeof call);
  if (d.length != sizeof call) std::memcpy(to + sizeof call, request_.bytes().data(), call.length);
  if (loan.slot == kNone) {
    to_.ring_.write(claim.ticket, d, in_line.bytes);
    to_.bytes_ += d.length;
    return;
  }
  d.kind = LineKind::slot;
  d.flags = kPayloadReady;
  d.slot = loan.slot;
  d.lease = loan.lease;
  d.published_at_ns = now_ns();
  to_.publish_line(claim.ticket, claim.groups, d);
}

// A queue that is removed ends what waits there, and may have looked before there was a message: of the two, one sees
// the other.
void CallForwarding::end_if_closed(const ForwardedCall& call) noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!to_.queue_->is_closed()) return;
  const std::uint64_t id = id_passed_on(request_.id());
  const QueueMap& home = server().home(request_);
  using Side = AnswerSide<SharedAtomics>;
  const Side side(home.call(id), call_number(id), server().client_);
  if (side.finish(Side::kDied, false, {call.slot, call.lease}) == Side::After::release && call.slot != kNone) {
    const PoolMap& pool = server().home_pool(request_);
    if (pool.pool().release(call.slot, call.lease, kServers)) ring_always(pool.control().free);
  }
  wake_caller(home, id);
}

// The slot of the request goes on with it, where the message that this server has names it itself.
void CallForwarding::end_request() noexcept {
  ServerCore& from = server();
  request_.core_ = nullptr;
  if (request_.forwarded_ != nullptr) {
    from.end_forwarded(request_, true);
    (void)from.consumer_.release(request_.message_);
  } else if (from.slot_of_request(request_).slot != kNone) {
    (void)from.consumer_.hand_over(request_.message_);
  } else {
    (void)from.consumer_.release(request_.message_);
  }
}

}  // namespace ipcq::detail
