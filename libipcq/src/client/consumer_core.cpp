#include "client/consumer_core.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>
#include <type_traits>

#include "client/early_payload.hpp"

namespace ipcq::detail {
namespace {

// Of these no comparison with other values is recorded.
constexpr std::size_t kMaxBatch = 256;  // entries, an array on the stack
// How often a consumer that takes messages early checks for the end of the stream and for messages given back (ns).
// Neither rings the bell `work`, on which it sleeps.
constexpr std::uint64_t kEarlyRound = 10'000'000;

// How often receive() checks an incomplete payload, every 50 us, before it puts the message back and starts anew.
constexpr unsigned kLooksForPayload = 200;

std::uint8_t unwinding_now() noexcept { return static_cast<std::uint8_t>(std::uncaught_exceptions()); }

}  // namespace

ConsumerCore::ConsumerCore(std::shared_ptr<SessionCore> session, Attachment attachment, const ConsumerOptions& options)
    : keep_(std::move(session)),
      session_(keep_.get()),
      queue_(std::move(attachment.queue)),
      pool_(std::move(attachment.pool)),
      ring_(queue_->ring()),
      member_(queue_->member(attachment.group, attachment.endpoint, attachment.client)),
      early_(queue_->published_member(attachment.group, attachment.endpoint, attachment.client)),
      endpoint_(queue_->endpoint(attachment.endpoint)),
      client_(attachment.client),
      wait_(options.wait),
      until_(options.until),
      uses_cuda_(attachment.uses_cuda) {
  // Loaded before the check: a stream that ends in between has a higher count, and its end is reported at once.
  const std::uint64_t ends = queue_->control().end_count.load(std::memory_order_relaxed);
  if (options.wait_for > Duration::zero() && is_at_end()) {
    stale_end_ = ends;
    grace_until_ = deadline_after(options.wait_for);
  }
}

ConsumerCore::~ConsumerCore() { close(); }

void ConsumerCore::close() noexcept {
  close_device_side();
  if (closed_.exchange(true)) return;
  session_->detach(client_, 0);
  keep_.reset();
}

bool ConsumerCore::holds_any() const noexcept {
  const std::span<Held> all(queue_->held(), queue_->held_entries());
  const std::span<Held> where = took_over_ ? all : member_.own_block();
  return std::any_of(where.begin(), where.end(), [this](const Held& held) {
    const HeldWord h = unpack_held(held.word.load(std::memory_order_relaxed));
    return h.state != HeldState::free && h.client == client_;
  });
}

bool ConsumerCore::is_at_end() const noexcept {
  if (until_ == Until::forever) return false;
  // SYNC stream-end (acquire). Pairs with: announce_end.
  const std::uint64_t end = queue_->control().end_ticket.load(std::memory_order_acquire);
  if (end != kNoTicket && grace_until_ != 0) {
    // The stream was over when this consumer attached: a producer may open and begin the next one.
    const bool same = queue_->control().end_count.load(std::memory_order_relaxed) == stale_end_;
    if (same && now_ns() < grace_until_) return false;
  }
  return end != kNoTicket && end == member_.next_ticket() && !member_.others_have(end);
}

// Before a batch is taken: waits until the last line that a producer has claimed, within `room`, is readable. To take a
// producer's batch line by line would move every cache line to and fro between the two. The wait is short, since that
// producer may be dead. Returns the ticket before which lines are expected to be readable.
std::uint64_t ConsumerCore::await_batch(std::size_t room) const noexcept {
  const std::uint64_t next = member_.next_ticket();
  if (wait_.kind() == Wait::Kind::sleep || ring_.has_handler()) return next;
  const std::uint64_t end = std::min(ring_.cursor(kProducers).next, next + room);
  if (end <= next + 1) return next;
  constexpr unsigned kPatience = 200;  // no comparison with other values is recorded
  for (unsigned looks = 0; looks < kPatience; ++looks) {
    if (ring_.readable(end - 1)) return end;
    cpu_pause();
  }
  return next;
}

template <class Member>
Status ConsumerCore::take(Member& member, std::span<std::uint32_t> entries, Deadline& deadline, std::size_t& taken,
                          const std::atomic<bool>* roused) noexcept {
  if (is_unusable()) return Status::closed;
  constexpr bool kEarly = std::is_same_v<Member, decltype(early_)>;
  for (bool first = true;; first = false) {
    const Taken t = member.take(entries, entries.size() > 1 ? await_batch(entries.size()) : 0);
    taken = t.count;
    damaged_ += t.damaged;
    took_over_ = took_over_ || (t.count != 0 && !member.is_own(entries[0]));
    if (t.freed_lines) {
      publisher_fence();
      ring(queue_->control().space);
      // These were perhaps the last messages of the stream, and other members wait for its end.
      if (queue_->control().end_ticket.load(std::memory_order_relaxed) != kNoTicket) {
        ring(queue_->control().ready[member_.group()]);
      }
    }
    if (t.outcome == TakeOutcome::taken) return Status::ok;
    if (t.outcome == TakeOutcome::no_entry) {
      const Status s = session_->interruption(*queue_).check();
      return s == Status::closed || s == Status::peer_dead ? s : Status::full;
    }
    if (is_at_end()) return Status::end;
    // Where shared words are damaged, ready() may hold each time and nothing can be taken.
    if (!first || !deadline.was_given_time()) {
      if (const Status s = go_on(deadline); s != Status::ok) return s;
    }
    auto& control = queue_->control();
    // An early member waits until the next line is published. If it is already, it is an inline message, which the
    // member takes processed: then it waits for that.
    const std::uint64_t next = member.next_ticket();
    const bool published = kEarly && is_tagged(ring_.in(next), ring_.lap(next));
    const auto is_roused = [&] { return roused != nullptr && roused->load(std::memory_order_relaxed); };
    const auto ready = [&] {
      return member.has_work() || is_at_end() || is_roused() ||
             (kEarly && !published && is_tagged(ring_.in(next), ring_.lap(next)));
    };
    // Wakes when the grace ends, since a stream that was over before counts from then on.
    const std::uint64_t end = deadline.at_ns();
    const bool in_grace = grace_until_ != 0 && grace_until_ < end && now_ns() < grace_until_;
    std::uint64_t until = in_grace ? grace_until_ : end;
    if constexpr (kEarly) until = std::min(until, now_ns() + kEarlyRound);
    const Status s = wait_until(kEarly && !published ? control.work : control.ready[member_.group()], wait_, until,
                                session_->interruption(*queue_), ready, queue_->attendant());
    if (s != Status::ok && !(until < end && s == Status::timeout)) return s;
    if (is_roused()) return Status::timeout;
  }
}

ConsumerCore::Payload ConsumerCore::await_payload(std::uint64_t ticket, Descriptor& d,
                                                  Deadline& deadline) const noexcept {
  EarlyPayload payload(*queue_, *pool_, ticket, d);
  for (unsigned looks = 0; !payload.is_complete(); ++looks) {
    if (looks == kLooksForPayload || go_on(deadline) != Status::ok) return Payload::not_yet;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return payload.read_outcome() ? Payload::there : Payload::lost;
}

ConsumerCore::Payload ConsumerCore::fill(Message& message, std::uint32_t entry, std::uint8_t unwinding,
                                         Deadline& deadline, Descriptor* early) noexcept {
  auto& h = member_.held(entry);
  const HeldWord word = unpack_held(h.word.load(std::memory_order_relaxed));
  Descriptor d = h.descriptor.load();  // checked in this copy
  message.m_.core = this;
  message.m_.held = entry;
  message.m_.redeliveries = static_cast<std::uint16_t>(word.deliveries);
  message.m_.unwinding = unwinding;
  if (!is_sound(d, *pool_)) {  // shared words are damaged: skipped and counted, in the time of the call
    deadline.start();
    ++damaged_;
    (void)release(message);
    return Payload::lost;
  }
  message.m_.ticket = h.ticket.load(std::memory_order_relaxed);
  if (early != nullptr) {
    *early = d;
  } else if (d.kind == LineKind::slot && pool_->on_device()) {
    const Payload payload = await_payload(message.m_.ticket, d, deadline);
    switch (payload) {
      case Payload::there:
        break;
      case Payload::not_yet:
        message.forget();
        put_back(entry);
        return payload;
      case Payload::lost:
        ++damaged_;
        (void)release(message);
        return payload;
    }
  }
  message.m_.data = d.kind != LineKind::slot                           ? h.data.view().bytes
                    : pool_->on_device() && (d.flags & kInMirror) == 0 ? nullptr  // on the device alone
                                                                       : pool_->payload(d.slot);
  message.m_.length = d.length;
  message.m_.sequence = d.sequence;
  message.m_.producer = d.producer;
  message.m_.published_at_ns = d.published_at_ns;
  message.m_.processed = (d.flags & kNotProcessed) == 0;
  bytes_ += d.length;
  ++(word.deliveries == 0 ? messages_ : redelivered_);
  return Payload::there;
}

void ConsumerCore::show_counters() const noexcept {
  endpoint_.messages.store(messages_, std::memory_order_relaxed);
  endpoint_.redelivered.store(redelivered_, std::memory_order_relaxed);
  endpoint_.damaged.store(damaged_, std::memory_order_relaxed);
  endpoint_.bytes.store(bytes_, std::memory_order_relaxed);
}

// Whether a call that has nothing to deliver yet may try again: ok, or the status that it returns.
Status ConsumerCore::go_on(Deadline& deadline) const noexcept {
  if (const Status s = session_->interruption(*queue_).check(); s != Status::ok) return s;
  return deadline.has_passed() ? deadline.outcome(Status::empty) : Status::ok;
}

Status ConsumerCore::await_device_side(Deadline& deadline) noexcept {
  if (is_unusable()) return Status::closed;
  return device_side_->await_receives(deadline);
}

Status ConsumerCore::receive(Message& message, Deadline& deadline) noexcept {
  if (device_side_ != nullptr) [[unlikely]] {
    if (const Status s = await_device_side(deadline); s != Status::ok) return s;
  }
  for (;;) {
    std::uint32_t entry = kNone;
    std::size_t taken = 0;
    if (const Status s = take(member_, {&entry, 1}, deadline, taken); s != Status::ok) return s;
    const Payload payload = fill(message, entry, unwinding_now(), deadline);
    show_counters();
    if (payload == Payload::there) return Status::ok;
    if (const Status s = go_on(deadline); s != Status::ok) return s;  // a message put back would be taken at once
  }
}

Status ConsumerCore::receive_early(Message& message, Descriptor& d, Deadline& deadline,
                                   const std::atomic<bool>* roused) noexcept {
  for (;;) {
    std::uint32_t entry = kNone;
    std::size_t taken = 0;
    const std::span<std::uint32_t> entries(&entry, 1);
    const Status s = takes_early() ? take(early_, entries, deadline, taken, roused)
                                   : take(member_, entries, deadline, taken, roused);
    if (s != Status::ok) return s;
    const Payload payload = fill(message, entry, unwinding_now(), deadline, &d);
    show_counters();
    if (payload == Payload::there) return Status::ok;
    if (const Status why = go_on(deadline); why != Status::ok) return why;
  }
}

void ConsumerCore::rouse_early() noexcept {
  publisher_fence();
  ring(queue_->control().work);
  ring(queue_->control().ready[member_.group()]);
}

BatchResult ConsumerCore::receive_many(std::span<Message> batch, Deadline& deadline) noexcept {
  BatchResult result;
  Deadline no_time = Deadline::none();
  if (device_side_ != nullptr) [[unlikely]] {
    result.status = await_device_side(deadline);
  }
  while (result.status == Status::ok && result.count == 0 && !batch.empty()) {
    std::uint32_t entries[kMaxBatch];
    std::size_t taken = 0;
    result.status = take(member_, std::span(entries, std::min(batch.size(), kMaxBatch)), deadline, taken);
    if (result.status != Status::ok) return result;
    const std::uint8_t unwinding = unwinding_now();
    Payload payload = Payload::there;
    for (std::size_t i = 0; i < taken; ++i) {
      if (payload == Payload::not_yet) {  // later messages are not delivered before it
        put_back(entries[i]);
        continue;
      }
      Message& m = batch[result.count];
      if (m) (void)m.release();
      // Waits for the payload of the first message only.
      payload = fill(m, entries[i], unwinding, result.count == 0 ? deadline : no_time);
      if (payload == Payload::there) ++result.count;
    }
    show_counters();
    if (result.count == 0) result.status = go_on(deadline);
  }
  return result;
}

Descriptor ConsumerCore::descriptor(const Message& message) const noexcept {
  return member_.held(message.m_.held).descriptor.load();
}

void ConsumerCore::after_release(bool slot_freed) noexcept {
  // Members that wait for the end of the stream wait until its last message is released.
  const bool ending = queue_->control().end_ticket.load(std::memory_order_relaxed) != kNoTicket;
  if (!slot_freed && !ending) return;
  publisher_fence();
  if (slot_freed) ring(pool_->control().free);
  if (ending) ring(queue_->control().ready[member_.group()]);
}

Status ConsumerCore::release(Message& message) noexcept {
  message.forget();
  if (is_unusable()) return Status::closed;
  bool freed = false;
  if (!member_.release(message.m_.held, message.m_.redeliveries, pool_->pool(), freed)) return Status::not_held;
  after_release(freed);
  return Status::ok;
}

bool ConsumerCore::hand_over(Message& message) noexcept {
  message.forget();
  const bool held = member_.hand_over(message.m_.held, message.m_.redeliveries);
  after_release(false);
  return held;
}

Status ConsumerCore::nack(Message& message) noexcept {
  message.forget();
  if (is_unusable()) return Status::closed;
  if (!member_.give_back(message.m_.held, message.m_.redeliveries)) return Status::not_held;
  after_return();
  return Status::ok;
}

void ConsumerCore::put_back(std::uint32_t entry) noexcept {
  const HeldWord word = unpack_held(member_.held(entry).word.load(std::memory_order_relaxed));
  if (!is_unusable() && member_.put_back(entry, word.deliveries)) after_return();
}

void ConsumerCore::after_return() noexcept {
  publisher_fence();
  ring(queue_->control().ready[member_.group()]);
}

}  // namespace ipcq::detail
