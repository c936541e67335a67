#include "client/caller_core.hpp"

#include <algorithm>

#include "client/call_forwarding.hpp"

namespace ipcq::detail {
namespace {

constexpr std::uint64_t kFirstRound = 1'000'000;     // ns; no comparison with other values is recorded
constexpr std::uint64_t kLongestRound = 20'000'000;  // a reply may have come meanwhile
constexpr std::uint64_t kWarnAfter = 1'000'000'000;

}  // namespace

CallerCore::CallerCore(std::shared_ptr<SessionCore> session, const Attachment& attachment, const ClientOptions& options)
    : producer_(std::move(session), attachment, options.wait),
      sender_(producer_),
      first_(attachment.endpoint * attachment.queue->config().calls_per_endpoint),
      entries_(attachment.queue->config().calls_per_endpoint),
      bell_(attachment.queue->call_bell(attachment.endpoint)),
      answer_bytes_(answer_bytes(attachment.queue->config().inline_bytes)),
      wait_(options.wait),
      in_slots_(options.reply_bytes >
                (queue().handler_answers() ? attachment.queue->config().inline_bytes : answer_bytes_)),
      needs_server_(options.needs_server),
      is_rejecting_(attachment.queue->config().backpressure == static_cast<std::uint32_t>(Backpressure::reject)),
      entry_(entries_),
      under_way_(entries_) {
  if (queue().handler_answers()) {
    collector_.emplace(queue(), pool(), attachment.endpoint, attachment.client);
  }
  free_.reserve(entries_);
}

std::uint32_t CallerCore::take_entry() noexcept {
  if (free_.empty() && under_way_.size() < entries_) {
    // At first, and when all that are left were cancelled while their servers wrote, who free them.
    for (std::uint32_t i = entries_; i-- > 0;) {
      if (!under_way_.contains(i) && side(i).look().state == CallState::free) free_.push_back(i);
    }
  }
  if (free_.empty()) return kNone;
  const std::uint32_t taken = free_.back();
  free_.pop_back();
  return taken;
}

bool CallerCore::close_entry(std::uint32_t in_block) noexcept {
  bool freed = false;
  const bool closed = side(in_block).close(
      [&](const SlotLoan& s) { freed = pool().pool().release(s.slot, s.lease, kServers) || freed; });
  publisher_fence();
  if (freed) ring(pool().control().free);
  ring(bell_);  // a server that streams may wait for the caller to go on
  return closed;
}

Status CallerCore::in_rounds(Deadline& deadline, const auto& attempt) noexcept {
  Deadline none = Deadline::none();  // so that a call that need not wait need not read the clock
  Status s = attempt(none);
  while (s == Status::full && collector_ && collector_->collect()) s = attempt(none);  // answers lay in the way
  if (s != Status::full || is_rejecting_) return s;
  std::uint64_t waited = 0;
  for (std::uint64_t length = kFirstRound;; length = std::min(2 * length, kLongestRound)) {
    Deadline round = deadline.round(length);
    s = attempt(round);
    if (s != Status::ok && collector_) (void)collector_->collect();
    if (s != Status::timeout || deadline.has_passed() || keeps_room()) return s;
    waited += length;
    if (waited > kWarnAfter) sender_.warn_of_unread();
  }
}

template <class Send>
Result<Call> CallerCore::make_call(Deadline& deadline, Duration room_for, const Send& send) noexcept {
  if (is_closed()) return Status::closed;
  if (!deadline.was_given_time()) return Status::expired;
  if (lacks_server()) return Status::no_server;
  const std::uint32_t i = take_entry();
  if (i == kNone) return Status::full;
  deadline.start();
  const std::uint64_t id = pack_call_id(entry_of(i), side(i).open(deadline.at_ns()));
  Deadline room = deadline.within(room_for);
  Status s = in_rounds(room, [&](Deadline& round) { return send(id, round); });
  if (s == Status::timeout && !room.has_passed()) s = Status::full;
  if (s != Status::ok) {
    (void)close_entry(i);
    free_.push_back(i);
    return s;
  }
  // Whose descriptor is at rest has armed its bell before the request was there for the attendant to look after.
  if (ready_fd_ && queue().attendant() != nullptr) ring(*queue().attendant());
  entry_[i] = {.deadline = deadline.at_ns(), .number = call_number(id)};
  under_way_.add(i);
  Call call;
  call.core_ = this;
  call.id_ = id;
  return call;
}

Result<Call> CallerCore::request(std::span<const std::byte> bytes, Deadline& deadline, Duration room_for) noexcept {
  return make_call(deadline, room_for,
                   [&](std::uint64_t id, Deadline& round) { return sender_.send(id, bytes, in_slots_, round); });
}

Result<Loan> CallerCore::loan(Deadline& deadline) noexcept {
  if (is_closed()) return Status::closed;
  Result<Loan> loan = Status::full;
  (void)in_rounds(deadline, [&](Deadline& round) {
    loan = producer_.loan(round);
    return loan.status();
  });
  if (loan.status() == Status::timeout && !deadline.has_passed()) return Status::full;
  return loan;
}

Result<Call> CallerCore::request(Loan& loan, std::size_t length, Deadline& deadline, Duration room_for) noexcept {
  if (!sender_.has_lent(loan)) return Status::not_held;
  return make_call(deadline, room_for,
                   [&](std::uint64_t id, Deadline& round) { return sender_.publish(id, loan, length, round); });
}

Status CallerCore::forward(ipcq::Request& request, Deadline& deadline) noexcept {
  return is_closed() ? Status::closed : CallForwarding(sender_, request).run(deadline);
}

bool CallerCore::keeps_room() const noexcept {
  return under_way_.any_of([this](std::uint32_t i) {
    const CallWord w = side(i).look();
    return w.state == CallState::answered && (w.in_slot || w.more);
  });
}

void CallerCore::end(Call& call, Status over) noexcept {
  const std::uint32_t i = in_block(call);
  if (!is_closed() && close_entry(i)) free_.push_back(i);  // once closed, the broker frees them
  under_way_.remove(i);
  call.core_ = nullptr;
  call.over_ = over;
}

void CallerCore::cancel(Call& call) noexcept { end(call, Status::cancelled); }

bool CallerCore::go_on(std::uint32_t in_block) noexcept {
  if (!side(in_block).go_on()) return false;
  entry_[in_block].read = false;
  publisher_fence();
  ring(bell_);  // the server waits to send the next
  return true;
}

bool CallerCore::go_on_or_end(Call& call) noexcept {
  if (go_on(in_block(call))) return true;
  const CallWord now = side(in_block(call)).look();
  end(call, now.answer == Answer::reply_and_death ? Status::server_died : Status::end);
  return false;
}

Status CallerCore::show(Call& call, const CallWord& word, ipcq::Reply& reply) noexcept {
  const CallEntry& e = queue().call(call.id_);
  const std::uint64_t where = e.where.load(std::memory_order_relaxed);
  const std::uint64_t length = CallPlaceBits::Length::get(where);
  const SlotLoan slot = slot_of(e);
  if (word.answer == Answer::server_died || word.answer == Answer::end) {
    const Status over = word.answer == Answer::end ? Status::end : Status::server_died;
    end(call, over);
    return over;
  }
  const bool sound = word.in_slot ? pool().pool().is_payload(slot.slot) && length <= pool().config().slot_bytes &&
                                        (word.more || pool().pool().is_reading(slot.slot, slot.lease, kServers))
                                  : length <= answer_bytes_;
  if (!sound) {  // shared words are damaged
    end(call, Status::server_died);
    return Status::server_died;
  }
  entry_[in_block(call)].read = true;
  entry_[in_block(call)].more = false;
  if (word.answer == Answer::failure) {
    call.code_ = static_cast<std::uint32_t>(CallPlaceBits::SlotOrCode::get(where));
    return Status::failed;
  }
  reply.bytes_ = {word.in_slot ? pool().payload(slot.slot) : e.data.view(), length};
  reply.has_more_ = entry_[in_block(call)].more = word.more || word.answer == Answer::reply_and_death;
  return Status::ok;
}

Status CallerCore::wait_for_answer(std::uint64_t until, const auto& look) noexcept {
  const Interruption interruption = producer_.shared_session()->interruption(queue());
  if (!collector_) return wait_until(bell_, wait_, until, interruption, look, queue().attendant());
  const auto ready = [&] { return look() || collector_->has_work(); };
  for (;;) {
    while (!look() && collector_->collect()) {
    }
    if (look()) return Status::ok;
    // Where shared words are damaged, or the queue has closed, there may be work of which nothing can be taken.
    if (const Status s = interruption.check(); s != Status::ok) return s;
    if (until != kNever && now_ns() >= until) return Status::timeout;
    const Status s = wait_until(bell_, wait_, until, interruption, ready, queue().attendant());
    if (s != Status::ok) return look() ? Status::ok : s;
  }
}

Status CallerCore::receive(Call& call, Deadline& deadline, ipcq::Reply& reply) noexcept {
  if (is_closed()) return Status::closed;
  const std::uint32_t i = in_block(call);
  if (entry_[i].read) {
    if (side(i).look().answer == Answer::failure) return Status::failed;  // its text stays readable
    if (!go_on_or_end(call)) return call.over_;
  }
  CallWord w;
  const auto is_answered = [&] {
    side(i).fetch();
    w = side(i).look();
    return w.state == CallState::answered;
  };
  if (is_answered()) [[likely]]
    return show(call, w, reply);
  const std::uint64_t until = std::min(deadline.at_ns(), entry_[i].deadline);
  const Status s = wait_for_answer(until, [&] { return is_answered() || lacks_server(); });
  // A server that is no longer counted has answered, or the repair has, what it had.
  if (is_answered()) return show(call, w, reply);
  if (s == Status::ok) {
    end(call, Status::no_server);
  } else if (s == Status::timeout) {
    if (entry_[i].deadline == kNever || now_ns() < entry_[i].deadline) return deadline.outcome(Status::empty);
    end(call, Status::expired);
  } else {
    return s;
  }
  return call.over_;
}

std::string_view CallerCore::failure_text(const Call& call) const noexcept {
  if (is_closed() || !entry_[in_block(call)].read || side(in_block(call)).look().answer != Answer::failure) return {};
  const CallEntry& e = queue().call(call.id_);
  const std::uint64_t length = CallPlaceBits::Length::get(e.where.load(std::memory_order_relaxed));
  return {reinterpret_cast<const char*>(e.data.view()), std::min<std::size_t>(length, answer_bytes_)};
}

bool CallerCore::has_news(std::uint32_t in_block, std::uint64_t now) const noexcept {
  const UnderWay& e = entry_[in_block];
  const CallWord w = side(in_block).look();
  // Of what was read to its end the caller knows. Where more was to come receive() says that it does not.
  if (e.read) return e.more && !w.more;
  return w.state == CallState::answered || e.deadline <= now;
}

int CallerCore::fd() {
  if (!ready_fd_) {
    ready_fd_ = std::make_unique<ReadyFd>(producer_.shared_session()->bell_watches(), bell_, queue().attendant());
  }
  return ready_fd_->get();
}

void CallerCore::rest() noexcept {
  if (!ready_fd_) return;
  ready_fd_->rest([this] {
    const std::uint64_t now = now_ns();
    return has_collectable() || producer_.shared_session()->interruption(queue()).check() != Status::ok ||
           (lacks_server() && !under_way_.empty()) ||
           under_way_.any_of([&](std::uint32_t i) { return has_news(i, now); });
  });
}

Result<std::uint64_t> CallerCore::wait_any(Deadline& deadline) noexcept {
  if (is_closed()) return Status::closed;
  while (collector_ && collector_->collect()) {  // also others' answers, which may keep everybody from the ring
  }
  const auto may_have_news = [this](std::uint32_t i) { return !entry_[i].read || entry_[i].more; };
  if (!under_way_.any_of(may_have_news)) return Status::empty;
  std::uint32_t found = kNone;
  const auto look = [&] {
    const std::uint64_t now = now_ns();
    const auto take = [&found](std::uint32_t i, bool is_it) {
      if (is_it) found = i;
      return is_it;
    };
    if (under_way_.any_in_turn([&](std::uint32_t i) {
          if (entry_[i].read) (void)go_on(i);
          return take(i, has_news(i, now));
        })) {
      return true;
    }
    return lacks_server() && under_way_.any_of([&](std::uint32_t i) { return take(i, may_have_news(i)); });
  };
  if (!look()) {
    std::uint64_t until = deadline.at_ns();
    (void)under_way_.any_of([&](std::uint32_t i) {
      if (!entry_[i].read) until = std::min(until, entry_[i].deadline);
      return false;
    });
    Status s = wait_for_answer(until, look);
    if (s == Status::timeout && look()) s = Status::ok;  // a call's deadline
    if (s == Status::timeout) return deadline.outcome(Status::empty);
    if (s != Status::ok) return s;
  }
  return pack_call_id(entry_of(found), entry_[found].number);
}

}  // namespace ipcq::detail
