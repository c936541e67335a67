#include "client/consumption.hpp"

#include <algorithm>

#include "base/crash_point.hpp"
#include "client/consuming.hpp"

namespace ipcq::detail {
namespace {

// Messages that are taken into held entries at once: an array on the stack.
constexpr std::size_t kHeldAtOnce = 32;

// Whether a callback may see messages in their lines. While it runs they are not free, and producers wait for them; not
// so those of a lossy group, or of a queue that drops the oldest, which must never wait for a reader. Nor lines that a
// device writes: their units arrive in any order.
bool may_show_lines(const QueueMap& queue, unsigned group) noexcept {
  return !queue.on_device() && static_cast<Backpressure>(queue.config().backpressure) != Backpressure::drop_oldest &&
         (queue.control().group[group].policy.load(std::memory_order_relaxed) & kGroupLossy) == 0;
}

// Of lines and slots, so that producers go on while a callback runs.
std::size_t quarter_of(std::uint64_t lines, std::uint64_t slots) noexcept {
  const std::uint64_t fewer = slots == 0 ? lines : std::min(lines, slots);
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(fewer / 4, 1, kHeldAtOnce));
}

}  // namespace

Consumption::Consumption(ConsumerCore& core, const MessageCallback& callback) noexcept
    : core_(core),
      callback_(callback),
      shows_lines_(may_show_lines(*core.queue_, core.group())),
      held_at_once_(quarter_of(core.queue_->config().lines, core.pool_->config().slots)) {}

BatchResult Consumption::run(std::size_t limit, Deadline& deadline) {
  if (core_.records_) [[unlikely]]
    return core_.records_->consume(callback_, deadline, limit);
  BatchResult result;
  Deadline no_time = Deadline::none();
  const std::uint64_t filtered = core_.filtered_;
  for (bool wanted = true; wanted && result.count < limit;) {
    const std::size_t before = result.count;
    const bool first = before == 0;
    Deadline& time = first ? deadline : no_time;
    Status s = show_some(limit - before, time, result.count, wanted);
    if (s == Status::ok && result.count == before) {  // of all of them the handler had dropped
      if (!first) break;
      deadline.start();
      if (core_.filtered_ - filtered >= core_.ring_.lines()) s = core_.message_wait_.go_on(deadline);
    }
    if (s == Status::ok) continue;
    if (first) result.status = core_.rest_after(s);
    break;
  }
  return result;
}

Status Consumption::show_some(std::size_t want, Deadline& deadline, std::size_t& count, bool& wanted) {
  if (core_.is_consuming()) return Status::full;
  if (core_.device_side_ != nullptr) [[unlikely]] {  // also what the callback has begun
    if (const Status s = core_.await_device_side(deadline); s != Status::ok) return s;
  }
  if (shows_lines_) {
    const Consuming claim_is_open(core_.consuming_);
    std::uint64_t ticket = 0;
    Taken lines;
    if (const Status s = claim(want, deadline, ticket, lines); s != Status::ok) return s;
    if (lines.outcome == TakeOutcome::taken) {
      wanted = show_lines(ticket, ticket + lines.count, count);
      return Status::ok;
    }
  }
  Message batch[kHeldAtOnce];
  const BatchResult taken = core_.receive_many(std::span(batch, std::min(want, held_at_once_)), deadline);
  if (taken.count == 0) return taken.status;
  const Consuming callback_runs(core_.consuming_);
  wanted = show_held(std::span(batch, taken.count), count);
  return Status::ok;
}

Status Consumption::claim(std::size_t want, Deadline& deadline, std::uint64_t& ticket, Taken& taken) noexcept {
  if (core_.is_unusable()) return Status::closed;
  const auto attempt = [&] {
    Taken t;
    ticket = core_.in_place_.claim(want, want > 1 ? core_.message_wait_.await_batch(core_.member_, want) : 0, t);
    return t;
  };
  return core_.message_wait_.until_taken(core_.member_, attempt, deadline, taken, core_.damaged_);
}

bool Consumption::find_message(std::uint64_t ticket, MessageView& view, InlineData& data) noexcept {
  Descriptor d;
  bool damaged = false;
  const std::byte* const bytes = core_.in_place_.read(ticket, d, data, damaged);
  if (damaged) ++core_.damaged_;
  if (bytes != nullptr && (d.flags & kFiltered) != 0) {
    ++core_.filtered_;
    core_.endpoint_.filtered.store(core_.filtered_, std::memory_order_relaxed);
    return false;
  }
  if (bytes != nullptr) core_.show(view, d, bytes, ticket);
  return bytes != nullptr;
}

bool Consumption::show_lines(std::uint64_t ticket, std::uint64_t end, std::size_t& count) {
  bool wanted = true;
  ConsumerCore& core = core_;
  const auto lines = core.in_place_.lines();
  const auto done = core.in_place_.finisher();
  try {
    for (; ticket != end && wanted; ++ticket) {
      PackedUnits p;
      InlineData data;
      MessageView view;
      const Unit* const line = lines.usual<LineKind::inlined>(ticket, p);
      if (line != nullptr) [[likely]]
        core.show(view, p, Unit::plain_bytes(line + kInlineUnit), ticket);
      if (line != nullptr || find_message(ticket, view, data)) {
        wanted = callback_.call(callback_.object, view);
        ++count;
        if (core.is_unusable()) return false;  // closed by the callback: the broker has settled the rest of the claim
      }
      IPCQ_CRASH_POINT("consume.shown");
      done.finish(ticket);
      IPCQ_CRASH_POINT("consume.finished");
      core.message_wait_.announce_free_lines();
    }
  } catch (...) {
    if (!core_.is_unusable()) return_lines(ticket, end, true);
    throw;
  }
  if (ticket != end) return_lines(ticket, end, false);
  core_.show_counters();
  return wanted;
}

void Consumption::return_lines(std::uint64_t ticket, std::uint64_t end, bool shown) noexcept {
  for (; ticket != end; ++ticket, shown = false) {
    const std::uint32_t entry = core_.member_.hold(ticket, core_.damaged_);
    if (entry == kNone) continue;
    core_.in_place_.spend(1);
    (void)(shown ? core_.member_.give_back(entry, 0) : core_.member_.put_back(entry, 0));
  }
  core_.show_counters();
  core_.message_wait_.announce_free_lines();
  core_.after_return();
}

bool Consumption::show_held(std::span<Message> messages, std::size_t& count) {
  bool wanted = true;
  std::size_t i = 0;
  const auto return_rest = [&] {
    for (; i < messages.size(); ++i) core_.take_back(messages[i]);
    // Closed by the callback: the endpoint may be another consumer's by now.
    if (!core_.is_unusable()) core_.show_counters();
  };
  try {
    for (; i < messages.size() && wanted; ++i) {
      wanted = callback_.call(callback_.object, messages[i]);
      ++count;
      (void)messages[i].release();
      if (core_.is_unusable()) wanted = false;  // closed by the callback: the rest is the group's again
    }
  } catch (...) {
    ++i;  // the destructor of this one gives it back
    return_rest();
    throw;
  }
  return_rest();
  return wanted;
}

}  // namespace ipcq::detail
