#include "client/consumer_core.hpp"

#include <algorithm>
#include <exception>

namespace ipcq::detail {
namespace {

constexpr std::size_t kMaxBatch = 256;  // entries, an array on the stack; no comparison with other values is recorded

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
      in_place_(queue_->in_place_reader(attachment.group, attachment.endpoint, attachment.client)),
      message_wait_(*session_, *queue_, member_, options),
      endpoint_(queue_->endpoint(attachment.endpoint)),
      client_(attachment.client),
      usual_lines_(ring_.is_plain() && !queue_->packs_records()),
      uses_cuda_(attachment.uses_cuda) {}

ConsumerCore::~ConsumerCore() { close(); }

void ConsumerCore::close() noexcept {
  close_device_side();
  if (closed_.exchange(true)) return;
  ready_fd_.reset();
  session_->detach(client_, 0);
  keep_.reset();
}

bool ConsumerCore::holds_any() const noexcept {
  const HeldEntries<SharedAtomics> where = took_over_ ? queue_->held() : member_.own_block();
  return std::any_of(where.begin(), where.end(), [this](const Held& held) {
    const HeldWord h = unpack_held(held.word.load(std::memory_order_relaxed));
    return h.state != HeldState::free && h.client == client_;
  });
}

// In line, down to the claim: in a call for one message the calls would take as many instructions as what they do.
template <class Member, class Attempt>
[[gnu::always_inline]] inline Status ConsumerCore::take(Member& member, const Attempt& attempt,
                                                        const std::uint32_t& entry, Deadline& deadline, Taken& taken,
                                                        const std::atomic<bool>* roused) noexcept {
  if (is_unusable()) return Status::closed;
  if (is_consuming()) return Status::full;
  const Status s = message_wait_.until_taken(member, attempt, deadline, taken, damaged_, roused);
  if (s != Status::ok) return s;
  if (!member.is_own(entry)) [[unlikely]]
    took_over_ = true;
  in_place_.spend(taken.count);
  return s;
}

template <class Member>
[[gnu::always_inline]] inline Status ConsumerCore::take_one(Member& member, std::uint32_t& entry, Deadline& deadline,
                                                            const std::atomic<bool>* roused) noexcept {
  Taken taken;
  const auto attempt = [&]() __attribute__((always_inline)) { return member.take_one(entry); };
  return take(member, attempt, entry, deadline, taken, roused);
}

// In line: most of what is done for a message in a batch.
[[gnu::always_inline]] inline bool ConsumerCore::deliver_usual(Message& message, std::uint32_t entry,
                                                               std::uint64_t ticket, const PackedUnits& p,
                                                               std::uint8_t unwinding) noexcept {
  const Held& h = member_.held(entry);
  const auto length = HeadBits::Length::get(p.head);
  message.hold_ = {this, entry, 0, unwinding};
  if ((p.head & kAllButLength) == kUsualHead) [[likely]] {
    if (length > ring_.inline_bytes()) return false;
    show(message, p, h.data.view(), ticket);
    return true;
  }
  // Where the payload of a device queue is, and whether it is complete, fill() finds out.
  if ((p.head & kAllButLength) != kUsualSlotHead || pool_->on_device()) return false;
  const auto where = h.descriptor.load_where();
  if (!is_sound_in_slot(where.slot, where.alias, length, *pool_)) return false;
  show(message, p, pool_->payload(where.slot), ticket);
  message.m_.published_at_ns = where.published_at_ns;
  return true;
}

ConsumerCore::Payload ConsumerCore::fill(Message& message, std::uint32_t entry, std::uint8_t unwinding,
                                         Deadline& deadline, Descriptor* early) noexcept {
  auto& h = member_.held(entry);
  const HeldWord word = unpack_held(h.word.load(std::memory_order_relaxed));
  Descriptor d = h.descriptor.load();  // checked in this copy
  message.hold_ = {this, entry, static_cast<std::uint16_t>(word.deliveries), unwinding};
  message.m_.redeliveries = static_cast<std::uint16_t>(word.deliveries);
  message.m_.record = 0;
  if (!is_sound(d, *queue_, *pool_)) {  // shared words are damaged: skipped and counted, in the time of the call
    deadline.start();
    ++damaged_;
    (void)release(message);
    return Payload::lost;
  }
  if ((d.flags & kFiltered) != 0) {
    deadline.start();
    ++filtered_;
    (void)release(message);
    return Payload::filtered;
  }
  message.m_.ticket = h.ticket.load(std::memory_order_relaxed);
  if (early != nullptr) {
    *early = d;
  } else if (d.kind == LineKind::slot && pool_->on_device()) {
    Descriptor processed = d;  // in memory; `d` itself stays in registers
    const auto outcome = EarlyPayload(*queue_, *pool_, message.m_.ticket, processed).await(message_wait_, deadline);
    d = processed;
    if (outcome == EarlyPayload::Outcome::not_yet) {
      message.forget();
      put_back(entry);
      return Payload::not_yet;
    }
    if (outcome == EarlyPayload::Outcome::lost) {
      ++damaged_;
      (void)release(message);
      return Payload::lost;
    }
  }
  describe(message, d,
           d.kind != LineKind::slot                           ? h.data.view()
           : pool_->on_device() && (d.flags & kInMirror) == 0 ? nullptr  // on the device alone
                                                              : pool_->payload(d.slot));
  ++(word.deliveries == 0 ? messages_ : redelivered_);
  return Payload::there;
}

void ConsumerCore::show_counters() const noexcept {
  Endpoint& shown = endpoint_;
  shown.messages.store(messages_, std::memory_order_relaxed);
  shown.redelivered.store(redelivered_, std::memory_order_relaxed);
  shown.damaged.store(damaged_, std::memory_order_relaxed);
  shown.filtered.store(filtered_, std::memory_order_relaxed);
  shown.bytes.store(bytes_, std::memory_order_relaxed);
}

Status ConsumerCore::await_device_side(Deadline& deadline) noexcept {
  if (is_unusable()) return Status::closed;
  return device_side_->await_receives(deadline);
}

Status ConsumerCore::receive(Message& message, Duration timeout) noexcept {
  if (!expects_slot_ && may_take_next()) [[likely]] {
    const std::uint8_t unwinding = unwinding_now();  // a call, before there is much to save from it
    PackedUnits p;
    const std::uint64_t ticket = member_.take_next<LineKind::inlined>(ring_.out_lines(), p);
    if (ticket != kNoTicket) [[likely]] {
      fetch_ahead(ticket);
      const std::uint32_t entry = member_.first_entry();
      message.hold_ = {this, entry, 0, unwinding};
      show(message, p, member_.held(entry).data.view(), ticket);
      in_place_.spend(1);
      show_first_deliveries();
      message_wait_.announce_free_lines();
      return Status::ok;
    }
  }
  return receive_other(message, timeout);
}

Status ConsumerCore::receive_other(Message& message, Duration timeout) noexcept {
  if (may_take_next()) {
    const std::uint8_t unwinding = unwinding_now();
    PackedUnits p;
    const std::uint64_t ticket = member_.take_next<LineKind::slot>(ring_.out_lines(), p);
    expects_slot_ = ticket != kNoTicket;
    if (expects_slot_) {
      fetch_ahead(ticket);
      in_place_.spend(1);
      message_wait_.announce_free_lines();
      if (deliver_usual(message, member_.first_entry(), ticket, p, unwinding)) [[likely]] {
        show_first_deliveries();
        return Status::ok;
      }
      Deadline none = Deadline::none();
      const Payload payload = fill(message, member_.first_entry(), unwinding, none);  // damaged: counted, and released
      show_counters();
      if (payload == Payload::there) return Status::ok;  // no longer: another process has changed the entry
    }
  }
  Deadline deadline(timeout);
  return receive_any(message, deadline);
}

Status ConsumerCore::receive_any(Message& message, Deadline& deadline) noexcept {
  return records_ ? records_->receive(message, deadline) : receive_message(message, deadline);
}

Status ConsumerCore::receive_message(Message& message, Deadline& deadline) noexcept {
  if (device_side_ != nullptr) [[unlikely]] {
    if (const Status s = await_device_side(deadline); s != Status::ok) return s;
  }
  for (std::uint64_t passed = 0;;) {
    std::uint32_t entry = kNone;
    if (const Status s = take_one(member_, entry, deadline); s != Status::ok) return rest_after(s);
    const Payload payload = fill(message, entry, unwinding_now(), deadline);
    show_counters();
    if (payload == Payload::there) return Status::ok;
    if (payload == Payload::filtered && goes_on_after(passed)) continue;
    // A message that was put back would be taken again at once.
    if (const Status s = message_wait_.go_on(deadline); s != Status::ok) return rest_after(s);
  }
}

Status ConsumerCore::receive_early(Message& message, Descriptor& d, Deadline& deadline,
                                   const std::atomic<bool>* roused) noexcept {
  for (std::uint64_t passed = 0;;) {
    std::uint32_t entry = kNone;
    const Status s =
        takes_early() ? take_one(early_, entry, deadline, roused) : take_one(member_, entry, deadline, roused);
    if (s != Status::ok) return s;
    const Payload payload = fill(message, entry, unwinding_now(), deadline, &d);
    show_counters();
    if (payload == Payload::there) return Status::ok;
    if (payload == Payload::filtered && goes_on_after(passed)) continue;
    if (const Status why = message_wait_.go_on(deadline); why != Status::ok) return why;
  }
}

void ConsumerCore::rouse_early() noexcept {
  publisher_fence();
  ring(queue_->control().work);
  ring(queue_->control().ready[member_.group()]);
}

BatchResult ConsumerCore::receive_many(std::span<Message> batch, Deadline& deadline) noexcept {
  if (records_) [[unlikely]]
    return records_->receive_many(batch, deadline);
  BatchResult result;
  Deadline no_time = Deadline::none();
  std::uint64_t passed = 0;
  if (device_side_ != nullptr) [[unlikely]]
    result.status = await_device_side(deadline);
  while (result.status == Status::ok && result.count == 0 && !batch.empty()) {
    std::uint32_t entries[kMaxBatch];
    const std::span<std::uint32_t> room(entries, std::min(batch.size(), kMaxBatch));
    const auto attempt = [&] {
      return member_.take(room, room.size() > 1 ? message_wait_.await_batch(member_, room.size()) : 0);
    };
    Taken taken;
    result.status = take(member_, attempt, entries[0], deadline, taken);
    if (result.status != Status::ok) return {rest_after(result.status), result.count};
    const std::uint8_t unwinding = unwinding_now();
    Payload payload = Payload::there;
    for (std::size_t i = 0; i < taken.count; ++i) {
      if (payload == Payload::not_yet) {  // later messages are not delivered before it
        put_back(entries[i]);
        continue;
      }
      Message& m = batch[result.count];
      if (m) (void)m.release();
      const Held& h = member_.held(entries[i]);
      if (member_.is_first_delivery(h) && deliver_usual(m, entries[i], h.ticket.load(std::memory_order_relaxed),
                                                        h.descriptor.load_units(), unwinding)) [[likely]] {
        ++result.count;
        continue;
      }
      // Waits for the payload of the first message only.
      payload = fill(m, entries[i], unwinding, result.count == 0 ? deadline : no_time);
      if (payload == Payload::there) ++result.count;
    }
    show_counters();
    if (result.count != 0 || (payload == Payload::filtered && goes_on_after(passed))) continue;
    result.status = rest_after(message_wait_.go_on(deadline));
  }
  return result;
}

Descriptor ConsumerCore::descriptor(const Message& message) const noexcept {
  return member_.held(message.hold_.entry).descriptor.load();
}

Status ConsumerCore::announce_release(bool slot_freed, bool ending) noexcept {
  publisher_fence();
  if (slot_freed) ring(pool_->control().free);
  if (ending) ring(queue_->control().ready[member_.group()]);
  return Status::ok;
}

Status ConsumerCore::release(Message& message) noexcept {
  const std::uint32_t entry = message.hold_.entry;
  const std::uint32_t deliveries = message.hold_.deliveries;
  message.forget();
  if (is_unusable()) return Status::closed;
  if (is_record(message)) [[unlikely]]
    return records_->end_record(entry, false);
  // The usual case makes no call but the last: it saves no registers.
  if (member_.has_slot(entry)) return release_slot(entry, deliveries);
  if (!member_.hand_over(entry, deliveries)) return Status::not_held;
  if (is_at_end()) return announce_release(false, true);
  return Status::ok;
}

Status ConsumerCore::release_slot(std::uint32_t entry, std::uint32_t deliveries) noexcept {
  bool freed = false;
  if (!member_.release_with_slot(entry, deliveries, pool_->pool(), freed)) return Status::not_held;
  const bool ending = is_at_end();
  return freed || ending ? announce_release(freed, ending) : Status::ok;
}

bool ConsumerCore::hand_over(Message& message) noexcept {
  message.forget();
  const bool held = member_.hand_over(message.hold_.entry, message.hold_.deliveries);
  if (is_at_end()) (void)announce_release(false, true);
  return held;
}

Status ConsumerCore::nack(Message& message) noexcept {
  message.forget();
  if (is_unusable()) return Status::closed;
  if (is_record(message)) return records_->end_record(message.hold_.entry, true);
  if (!member_.give_back(message.hold_.entry, message.hold_.deliveries)) return Status::not_held;
  after_return();
  return Status::ok;
}

void ConsumerCore::take_back(Message& message) noexcept {
  if (is_record(message)) {
    records_->put_back(message.hold_.entry, message.record());
    message.forget();
    return;
  }
  uncount(message);
  const std::uint32_t entry = message.hold_.entry;
  message.forget();
  put_back(entry);
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
