#include "loans.hpp"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "attached_side.hpp"
#include "exit_guard.hpp"

namespace ipcq::detail {
namespace {

constexpr auto kCloseBound = std::chrono::seconds(10);

}  // namespace

LoanSide::LoanSide(ProducerCore& core)
    : core_(&core),
      session_(core.shared_session().get()),
      memory_(*session_, core.queue(), core.pool(), false),
      published_(core.pool()->config().slots),
      poll_thread_(std::make_unique<PollThread>([this] { return poll_round(); })) {
  const std::size_t slots = core.pool()->config().slots;
  states_.reserve(slots);
  spare_.reserve(slots);
  dropped_.reserve(slots);
}

LoanSide::~LoanSide() {
  if (epoch_ == fork_epoch()) return;
  (void)poll_thread_.release();  // its thread, and any that held its lock or that of spare blocks, exist in the parent
  (void)passed_.release();
}

LoanSide& LoanSide::of(ProducerCore& core) { return attached_side<LoanSide>(core, "producer"); }

Result<cuda::Loan> LoanSide::loan(cuda::Stream stream, Deadline& deadline) {
  const View& view = memory_.view(stream);
  if (!passed_) {
    close_at_exit(weak_from_this());
    passed_ = std::make_unique<HostBlock>(view.context, published_.size() * sizeof(Word), memory_.object());
  }
  harvest();
  LoanState* state = nullptr;
  if (spare_.empty()) {
    states_.push_back(std::make_unique<LoanState>());
    state = states_.back().get();
  } else {
    state = spare_.back();
    spare_.pop_back();
  }
  if (const Status s = core_->borrow(deadline, state->loan); s != Status::ok) {
    spare_.push_back(state);
    return s;
  }
  core_->mark_for_gpu(state->loan, LoanWriter::gpu);
  state->side = shared_from_this();
  state->view = &view;
  state->stream = stream;
  state->announced = false;
  return cuda::Loan(state);
}

bool LoanSide::refuses(const LoanState& state) noexcept {
  if (!is_capturing(*state.view, state.stream)) return false;
  session_->log(LogLevel::error, memory_.object() +
                                     ": a loan's stream captures a graph, whose launches would repeat what is for one "
                                     "message; end the capture before you publish or drop the loan");
  return true;
}

bool LoanSide::announce(LoanState& state) noexcept {
  const CUresult result =
      enqueue_write(*state.view, state.stream, memory_.pool().gpub(state.loan.slot), state.loan.lease);
  if (result == CUDA_SUCCESS) {
    state.announced = true;
    return true;
  }
  session_->log(LogLevel::error, describe(driver(), result, "cuStreamWriteValue64", memory_.object()) +
                                     (is_broken(*state.view) ? ": " + why_broken(*state.view) : ""));
  return false;
}

Status LoanSide::await_stream(const LoanState& state, Deadline& deadline) noexcept {
  const std::uint64_t start = now_ns();
  for (;;) {
    const CUresult result = query(*state.view, state.stream);
    if (result == CUDA_SUCCESS) return Status::ok;
    if (result != CUDA_ERROR_NOT_READY) {
      session_->log(LogLevel::error, describe(driver(), result, "cuStreamQuery", memory_.object()) + ", publishing");
      return Status::closed;
    }
    if (const Status s = session_->interruption(memory_.queue()).check(); s != Status::ok) return s;
    if (deadline.has_passed()) return deadline.outcome(Status::full);
    std::this_thread::sleep_for(std::chrono::nanoseconds(nap_after(now_ns() - start)));
  }
}

Status LoanSide::publish(LoanState& state, std::size_t length, Deadline& deadline) noexcept {
  if (closed_ || epoch_ != fork_epoch()) return Status::closed;
  if (length > capacity()) return Status::too_large;
  if (refuses(state)) return Status::closed;
  // CPUs read a payload in host memory as soon as they see the line. And if gpub was announced by a publish that
  // failed, it says nothing of what was enqueued since. In both cases the stream must be idle first.
  std::uint8_t flags = 0;
  if (state.view->reach == Reach::host || state.announced) {
    if (const Status s = await_stream(state, deadline); s != Status::ok) return s;
    flags = kPayloadReady;
  }
  if (state.view->reach == Reach::mirror) flags = static_cast<std::uint8_t>(flags | kInMirror);
  if (!state.announced && state.view->reach == Reach::host) {
    // The stream is idle. A write by it would be late: perhaps after that of the slot's next loan.
    // SYNC gpub (release, system): what the stream has done before it. Pairs with: reached.
    memory_.pool().gpub(state.loan.slot).store(state.loan.lease, std::memory_order_release);
    state.announced = true;
  }
  if (!state.announced && !announce(state)) return Status::closed;
  bool kept = false;
  if (const Status s = core_->publish_slot(state.loan, length, flags, deadline, kept); s != Status::ok) {
    core_->mark_for_gpu(state.loan, LoanWriter::gpu_again);
    return s;
  }
  published_[state.loan.slot] = {state.loan.lease, state.view};
  if (kept) return_later(state, memory_.pool().gpub(state.loan.slot));
  recycle(state);
  return Status::ok;
}

void LoanSide::drop(LoanState& state) noexcept {
  const auto keep = state.side;  // recycle() may drop the last reference but this
  // A slot that a stream may still write stays lent; the broker takes it over when the producer is closed.
  if (!closed_ && epoch_ == fork_epoch() && !return_passed(state) && is_broken(*state.view))
    core_->give_back(state.loan);
  recycle(state);
}

bool LoanSide::return_passed(LoanState& state) noexcept {
  const SlotLoan& loan = state.loan;
  if (refuses(state)) return false;
  if (!state.announced) {
    if (!announce(state)) return false;
    return_later(state, memory_.pool().gpub(loan.slot));
    return true;
  }
  // gpub was announced by a publish that failed, and the stream may have work behind that write: use another word.
  const CUresult result = enqueue_write(*state.view, state.stream, passed(loan.slot), loan.lease);
  if (result != CUDA_SUCCESS) {
    session_->log(LogLevel::error,
                  describe(driver(), result, "cuStreamWriteValue64", memory_.object()) + ", giving a slot back");
    return false;
  }
  return_later(state, passed(loan.slot));
  return true;
}

void LoanSide::recycle(LoanState& state) noexcept {
  spare_.push_back(&state);
  state.side.reset();
}

void LoanSide::return_later(const LoanState& state, const Word& passed) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    dropped_.push_back({state.loan, state.view, &passed});
    moved_at_ = now_ns();
  }
  poll_thread_->wake();
}

bool LoanSide::harvest() noexcept {
  const std::scoped_lock lock(mutex_);
  const std::size_t gone = std::erase_if(dropped_, [&](const Dropped& d) {
    if (!reached(*d.passed, d.loan.lease)) return false;
    core_->give_back(d.loan);
    return true;
  });
  if (gone != 0) moved_at_ = now_ns();
  return dropped_.empty();
}

std::uint64_t LoanSide::poll_round() noexcept {
  if (harvest()) return kNever;
  const std::scoped_lock lock(mutex_);
  return nap_after(now_ns() - moved_at_);
}

bool LoanSide::is_written(std::uint32_t slot) const noexcept {
  const std::uint64_t lease = published_[slot].lease;
  return lease == 0 || reached(memory_.pool().gpub(slot), lease);
}

bool LoanSide::all_written() const noexcept {
  for (std::uint32_t slot = 0; slot < published_.size(); ++slot) {
    if (!is_written(slot)) return false;
  }
  return true;
}

bool LoanSide::give_up_broken() noexcept {
  bool any = false;
  for (const auto& view : memory_.views()) {
    if (!is_broken(*view)) continue;
    any = true;
    bury_unwritten(*view);
    forget_dropped(*view);
  }
  return any;
}

// The view's context has failed: its streams will never complete what they have published and not written yet.
void LoanSide::bury_unwritten(const View& view) noexcept {
  const PoolMap& pool = memory_.pool();
  bool any = false;
  for (std::uint32_t slot = 0; slot < published_.size(); ++slot) {
    if (published_[slot].view != &view || is_written(slot)) continue;
    any = true;
    const std::uint64_t lease = std::exchange(published_[slot], {}).lease;
    pool.tomb(slot).store(lease, std::memory_order_relaxed);
    // SYNC gpub (release, system): the tomb before it. Pairs with: dispatch_ready, the readers' streams.
    pool.gpub(slot).store(lease, std::memory_order_release);
  }
  if (!any) return;
  session_->log(LogLevel::error,
                memory_.object() + ": " + why_broken(view) + "; what it had published there and not completed is lost");
}

// The broker takes these slots over when the endpoint is closed.
void LoanSide::forget_dropped(const View& view) noexcept {
  const std::scoped_lock lock(mutex_);
  std::erase_if(dropped_, [&view](const Dropped& d) { return d.view == &view && !reached(*d.passed, d.loan.lease); });
}

void LoanSide::close() noexcept {
  if (closed_) return;
  if (epoch_ != fork_epoch()) {
    closed_ = true;
    return;
  }
  poll_thread_->stop();
  // Loans that the user still has: kernels that write them may still run.
  for (const auto& state : states_) {
    if (state->side != nullptr) (void)return_passed(*state);
  }
  const std::uint64_t start = now_ns();
  const std::uint64_t deadline = deadline_after(kCloseBound);
  bool any_broken = false;
  while (!harvest() || !all_written()) {
    if (give_up_broken()) {
      if (!any_broken) keep_for_ever(shared_from_this());  // a failed context may still use its memory
      any_broken = true;
      if (harvest() && all_written()) break;
    }
    if (now_ns() >= deadline) {
      session_->log(LogLevel::warning,
                    memory_.object() +
                        ": closed while its streams still write payloads, 10 s after the close began; synchronize the "
                        "streams before closing");
      keep_for_ever(shared_from_this());
      break;
    }
    std::this_thread::sleep_for(std::chrono::nanoseconds(nap_after(now_ns() - start)));
  }
  closed_ = true;
}

}  // namespace ipcq::detail
