#include "consumer_core.hpp"

#include <exception>

#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

constexpr std::size_t kMaxBatch = 256;

}  // namespace

ConsumerCore::ConsumerCore(std::shared_ptr<SessionCore> session, Attachment attachment, const ConsumerOptions& options)
    : keep_(std::move(session)),
      session_(keep_.get()),
      queue_(std::move(attachment.queue)),
      pool_(std::move(attachment.pool)),
      ring_(queue_->ring()),
      member_(queue_->member(attachment.group, attachment.endpoint, attachment.client)),
      endpoint_(queue_->endpoint(attachment.endpoint)),
      client_(attachment.client),
      wait_(options.wait),
      until_(options.until) {}

ConsumerCore::~ConsumerCore() { close(); }

void ConsumerCore::close() noexcept {
  if (closed_.exchange(true)) return;
  session_->detach(client_, false);
  keep_.reset();
}

bool ConsumerCore::holds_any() const noexcept {
  for (std::uint32_t i = 0; i < queue_->held_entries(); ++i) {
    const HeldWord h = unpack_held(queue_->held()[i].word.load(std::memory_order_relaxed));
    if (h.state != HeldState::free && h.client == client_) return true;
  }
  return false;
}

bool ConsumerCore::is_at_end() const noexcept {
  const std::uint64_t end = queue_->control().end_ticket.load(std::memory_order_acquire);
  return end != kNoTicket && end == member_.next_ticket() && !member_.others_hold();
}

// A producer that writes a batch is not followed line by line, which would have both sides fight for each cache line:
// looks at the last place that was taken until it is published. Only for a moment; whoever took it may be dead.
void ConsumerCore::await_batch(std::size_t room) const noexcept {
  if (wait_.kind() == Wait::Kind::sleep || ring_.has_handler()) return;
  const std::uint64_t next = member_.next_ticket();
  const std::uint64_t end = std::min(ring_.cursor(kProducers).next, next + room);
  constexpr unsigned kPatience = 200;
  for (unsigned looks = 0; looks < kPatience && end > next + 1 && !ring_.readable(end - 1); ++looks) cpu_pause();
}

Status ConsumerCore::take(std::span<std::uint32_t> entries, Duration timeout, std::size_t& taken) noexcept {
  if (is_unusable()) return Status::closed;
  std::uint64_t deadline = 0;
  bool started = false;
  for (;;) {
    if (entries.size() > 1) await_batch(entries.size());
    const Taken t = member_.take(entries);
    taken = t.count;
    if (t.damaged != 0) endpoint_.damaged.store(damaged_ += t.damaged, std::memory_order_relaxed);
    if (t.freed_lines) {
      publisher_fence();
      ring(queue_->control().space);
    }
    if (t.outcome == TakeOutcome::taken) return Status::ok;
    if (t.outcome == TakeOutcome::no_entry) return Status::full;
    if (until_ == Until::end && is_at_end()) return Status::end;
    if (timeout <= Duration::zero()) {
      const Status s = session_->interruption(*queue_).check();
      return s == Status::ok ? Status::empty : s;
    }
    if (!started) deadline = deadline_after(timeout);
    started = true;
    const auto ready = [&] { return member_.has_work() || (until_ == Until::end && is_at_end()); };
    const Status s = wait_until(queue_->control().ready[member_.group()], wait_, deadline,
                                session_->interruption(*queue_), ready);
    if (s != Status::ok) return s;
  }
}

bool ConsumerCore::fill(Message& message, std::uint32_t entry) noexcept {
  auto& h = member_.held(entry);
  const HeldWord word = unpack_held(h.word.load(std::memory_order_relaxed));
  const Descriptor d = h.descriptor.load();  // checked in this copy
  message.m_.core = this;
  message.m_.held = entry;
  message.m_.redeliveries = static_cast<std::uint16_t>(word.deliveries);
  message.m_.unwinding = static_cast<std::uint8_t>(std::uncaught_exceptions());
  if (!is_sound(d, *pool_)) {  // somebody scribbled over the queue: skipped and counted
    endpoint_.damaged.store(++damaged_, std::memory_order_relaxed);
    (void)release(message);
    return false;
  }
  message.m_.data = d.kind == LineKind::slot ? pool_->payload(d.slot) : h.data.view().bytes;
  message.m_.length = d.length;
  message.m_.sequence = d.sequence;
  message.m_.producer = d.producer;
  message.m_.published_at_ns = d.published_at_ns;
  message.m_.ticket = h.ticket.load(std::memory_order_relaxed);
  message.m_.processed = (d.flags & kNotProcessed) == 0;
  bytes_ += d.length;
  if (word.deliveries == 0) {
    endpoint_.messages.store(++messages_, std::memory_order_relaxed);
  } else {
    endpoint_.redelivered.store(++redelivered_, std::memory_order_relaxed);
  }
  endpoint_.bytes.store(bytes_, std::memory_order_relaxed);
  return true;
}

Result<Message> ConsumerCore::receive(Duration timeout) noexcept {
  for (;;) {
    std::uint32_t entry = kNone;
    std::size_t taken = 0;
    if (const Status s = take({&entry, 1}, timeout, taken); s != Status::ok) return s;
    Message m;
    if (fill(m, entry)) return m;
  }
}

BatchResult ConsumerCore::receive_many(std::span<Message> batch, Duration timeout) noexcept {
  BatchResult result;
  while (result.count == 0 && !batch.empty()) {
    std::uint32_t entries[kMaxBatch];
    std::size_t taken = 0;
    result.status = take(std::span(entries, std::min(batch.size(), kMaxBatch)), timeout, taken);
    if (result.status != Status::ok) return result;
    for (std::size_t i = 0; i < taken; ++i) {
      Message& m = batch[result.count];
      if (m) (void)m.release();
      if (fill(m, entries[i])) ++result.count;
    }
  }
  return result;
}

Descriptor ConsumerCore::descriptor(const Message& message) const noexcept {
  return member_.held(message.m_.held).descriptor.load();
}

void ConsumerCore::after_release(bool slot_freed) noexcept {
  // Whoever waits for the end of the stream waits for the last message to be released.
  const bool ending = queue_->control().end_ticket.load(std::memory_order_relaxed) != kNoTicket;
  if (!slot_freed && !ending) return;
  publisher_fence();
  if (slot_freed) ring(pool_->control().free);
  if (ending) ring(queue_->control().ready[member_.group()]);
}

Status ConsumerCore::release(Message& message) noexcept {
  message.m_.core = nullptr;
  if (is_unusable()) return Status::closed;
  bool freed = false;
  if (!member_.release(message.m_.held, message.m_.redeliveries, pool_->pool(), freed)) return Status::not_held;
  after_release(freed);
  return Status::ok;
}

bool ConsumerCore::hand_over(Message& message) noexcept {
  message.m_.core = nullptr;
  const bool held = member_.hand_over(message.m_.held, message.m_.redeliveries);
  after_release(false);
  return held;
}

Status ConsumerCore::nack(Message& message) noexcept {
  message.m_.core = nullptr;
  if (is_unusable()) return Status::closed;
  if (!member_.give_back(message.m_.held, message.m_.redeliveries)) return Status::not_held;
  publisher_fence();
  ring(queue_->control().ready[member_.group()]);
  return Status::ok;
}

}  // namespace ipcq::detail

namespace ipcq {

Consumer::Consumer(std::unique_ptr<detail::ConsumerCore> core) noexcept : core_(std::move(core)) {}
Consumer::Consumer(Consumer&&) noexcept = default;
Consumer& Consumer::operator=(Consumer&& other) noexcept {
  if (this != &other) {
    close();
    core_ = std::move(other.core_);
  }
  return *this;
}
Consumer::~Consumer() { close(); }

void Consumer::close() noexcept {
  if (!core_) return;
  const bool messages_out = core_->holds_any();
  const auto session = core_->shared_session();
  core_->close();
  if (messages_out) {  // they refer to the core
    session->retire(std::shared_ptr<detail::ConsumerCore>(std::move(core_)));
  }
  core_.reset();
}

Result<Message> Consumer::receive(Duration timeout) noexcept {
  return core_ ? core_->receive(timeout) : Status::closed;
}
BatchResult Consumer::receive_many(std::span<Message> batch, Duration timeout) noexcept {
  return core_ ? core_->receive_many(batch, timeout) : BatchResult{Status::closed, 0};
}

Message Consumer::next_or_end() {
  auto m = receive();
  if (m) return std::move(*m);
  if (m.status() == Status::end) return {};
  throw ClosedError("consumer: the queue stopped before the end of the stream (" + std::string(to_string(m.status())) +
                    "); receive() tells this by its status");
}

}  // namespace ipcq
