// The part of ReceiveSide that runs in the poll thread, and close(): takes messages for receive_ahead(), releases
// messages behind their streams, and ends waits of streams when the queue or the broker has ended.
#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "orphaned_waits.hpp"
#include "receives.hpp"

namespace ipcq::detail {
namespace {

constexpr auto kCloseBound = std::chrono::seconds(10);
// The longest wait of the poll thread for a publication.
constexpr auto kTakeRound = std::chrono::milliseconds(10);
// Its sleep while the consumer holds all that it may and no stream has a message to release (ns): then room comes from
// releases on the CPU, which do not wake it.
constexpr std::uint64_t kFullNap = 1'000'000;
// How often it checks for the end of the queue and of the broker while streams wait for payloads (ns).
constexpr std::uint64_t kGuardEvery = 10'000'000;
// How long an executor or a producer's stream may still complete payloads after the queue closed or the broker died
// (ns).
constexpr std::uint64_t kGrace = 200'000'000;

}  // namespace

bool ReceiveSide::grace_is_over() noexcept {
  if (end_status() == Status::ok) return false;
  if (ended_since_ == 0) ended_since_ = now_ns();
  return now_ns() - ended_since_ >= kGrace;
}

bool ReceiveSide::harvest() noexcept {
  bool any = false;
  for (std::size_t i = 0; i < releasing_.size();) {
    MessageState& state = *releasing_[i];
    // An unresolved state is still in ahead_, even if a broken context has had its `released` written. And a message
    // whose context broke may be incomplete: if it were released now, its slot could get a second writer.
    if (!state.resolved.load(std::memory_order_relaxed) || !reached(state.pinned->released, state.use) ||
        (state.message && !is_complete(state) && end_status() == Status::ok)) {
      ++i;
      continue;
    }
    if (state.message) (void)state.message.release();
    releasing_.erase(releasing_.begin() + static_cast<std::ptrdiff_t>(i));
    free(state);
    any = true;
  }
  if (any) moved_at_ = now_ns();
  return any;
}

void ReceiveSide::resolve(Status status) noexcept {
  MessageState& state = *ahead_.front();
  ahead_.pop_front();
  fill_header(state, status);
  if (status == Status::ok) note_whether_lost(state);
  state.resolved.store(true, std::memory_order_release);
  // SYNC ahead-resolved (release): the header before the word. Pairs with: the stream's wait (receive_ahead).
  state.pinned->resolved.store(state.use, std::memory_order_release);
  state.wait.end();
  unresolved_.store(ahead_.size(), std::memory_order_release);
  moved_at_ = now_ns();
}

ReceiveSide::Advance ReceiveSide::advance(std::unique_lock<std::mutex>& lock) noexcept {
  MessageState& state = *ahead_.front();
  if (closing_) {
    if (state.message) (void)state.message.nack();
    resolve(Status::closed);
    return Advance::looked;
  }
  Advance result = Advance::looked;
  if (!state.taken) {
    Deadline round = releasing_.empty() ? Deadline(kTakeRound) : Deadline::none();
    roused_.store(false, std::memory_order_relaxed);
    waits_for_publication_ = round.was_given_time();
    lock.unlock();
    const Status s = core_->receive_early(state.message, state.descriptor, round, &roused_);
    lock.lock();
    waits_for_publication_ = false;
    if (s == Status::empty || s == Status::timeout) return s == Status::timeout ? Advance::waited : Advance::looked;
    if (s == Status::full) {
      result = Advance::full;
    } else if (s != Status::ok) {
      resolve(s);
      return Advance::looked;
    } else {
      state.taken = true;
      moved_at_ = now_ns();
    }
  }
  if (state.taken && is_complete(state)) {
    resolve(Status::ok);
    return Advance::looked;
  }
  const Status why = session_->interruption(memory_.queue()).check();
  if (why == Status::interrupted || (why != Status::ok && grace_is_over())) {
    if (state.message) (void)state.message.nack();
    resolve(why);
    return Advance::looked;
  }
  return result;
}

void ReceiveSide::prune_awaited() noexcept {
  std::erase_if(awaited_, [this](const Awaited& a) {
    if (!is_complete(a.descriptor, a.ticket)) return false;
    if (a.state != nullptr) a.state->awaited = false;
    return true;
  });
}

// Called once no process will complete these payloads, so that no stream waits for ever. Clients that do this at the
// same time write the same values.
void ReceiveSide::end_waits() noexcept {
  for (const auto& [state, d, ticket, wait] : awaited_) {
    memory_.pool().tomb(d.slot).store(d.lease, std::memory_order_release);
    if ((d.flags & kBeforeExecutor) != 0) {
      Descriptor tombstone;
      tombstone.kind = LineKind::tombstone;
      ring_.write_out(ticket, tombstone, nullptr);
    } else {
      memory_.pool().gpub(d.slot).store(d.lease, std::memory_order_release);
    }
  }
}

bool ReceiveSide::guard() noexcept {
  const std::scoped_lock lock(mutex_);
  prune_awaited();
  if (!awaited_.empty() && grace_is_over()) end_waits();
  return awaited_.empty();
}

std::uint64_t ReceiveSide::poll_round() noexcept {
  std::unique_lock lock(mutex_);
  bool moved = harvest();
  Advance advanced = Advance::looked;
  if (!ahead_.empty()) {
    const std::size_t before = ahead_.size();
    advanced = advance(lock);
    moved = moved || ahead_.size() < before;
  }
  prune_awaited();
  if (!awaited_.empty() && grace_is_over()) end_waits();
  if (moved || advanced == Advance::waited) return 0;
  if (advanced == Advance::full && releasing_.empty()) return kFullNap;
  if (!ahead_.empty() || !releasing_.empty()) return nap_after(now_ns() - moved_at_);
  return awaited_.empty() ? kNever : kGuardEvery;
}

// Marks as released what streams of a broken context had still to release: no kernel reads it any more. It asks the
// driver, so it runs without the lock, in the consumer's thread.
void ReceiveSide::give_up_broken() noexcept {
  for (const auto& view : memory_.views()) {
    if (!is_broken(*view)) continue;
    const std::scoped_lock lock(mutex_);
    for (MessageState* const state : releasing_) {
      if (state->view == view.get()) state->pinned->released.store(state->use, std::memory_order_release);
    }
  }
}

void ReceiveSide::close() noexcept {
  if (epoch_ != fork_epoch()) return;
  {
    const std::scoped_lock lock(mutex_);
    if (closing_) return;
    closing_ = true;
  }
  poll_thread_->stop();
  const std::uint64_t start = now_ns();
  const std::uint64_t deadline = deadline_after(kCloseBound);
  for (;;) {
    (void)poll_round();
    std::unique_lock lock(mutex_);
    if (ahead_.empty() && releasing_.empty()) break;
    if (!ahead_.empty()) continue;
    lock.unlock();
    give_up_broken();
    lock.lock();
    if (now_ns() >= deadline) {
      session_->log(LogLevel::warning,
                    memory_.object() + ": closed while streams still read " + std::to_string(releasing_.size()) +
                        " messages that were released on them 10 s ago or later; they go back to the group. "
                        "Synchronize the streams before closing");
      keep_for_ever(shared_from_this());
      break;
    }
    std::this_thread::sleep_for(std::chrono::nanoseconds(nap_after(now_ns() - start)));
  }
  closed_ = true;
  if (guard()) return;
  struct Left {
    std::shared_ptr<SessionCore> session;  // tells guard() of the broker's death; outlives the side's messages
    std::shared_ptr<ReceiveSide> side;
    bool operator()() const { return side->guard(); }
  };
  OrphanedWaits::get().keep(Left{core_->shared_session(), shared_from_this()});
}

}  // namespace ipcq::detail
