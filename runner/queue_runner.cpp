#include "queue_runner.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "base/thread.hpp"
#include "layout/text_field.hpp"
#include "payload_nap.hpp"
#include "protocol/doorbell.hpp"

namespace ipcq::runner {

using namespace detail;

namespace {

// Ends the process: after a failed kernel its CUDA context is unusable. The broker observes the process' end.
[[noreturn]] void die(const std::string& why) noexcept {
  std::fprintf(stderr, "ipcq-runner: %s\n", why.c_str());
  _exit(1);
}

}  // namespace

QueueRunner::QueueRunner(const Gpu& gpu, GpuArbiter& arbiter, const Plan& plan, std::shared_ptr<PinnedPool> pool,
                         std::shared_ptr<DeviceAllocation> payloads)
    : gpu_(gpu),
      park_after_ns_(plan.park_after_ns),
      deadline_ns_(plan.deadline_ns),
      state_(plan.state),
      queue_(gpu, plan.queue_segment, plan.handler, plan.executor, std::move(pool), std::move(payloads)),
      ring_(queue_.map().ring()),
      mailbox_(gpu, queue_.object()),
      seat_(arbiter, *this),
      stream_executor_(queue_, seat_, leave_) {
  ::prctl(PR_SET_TIMERSLACK, 1000);  // ns, also for threads started here: short sleeps are not prolonged
  waker_ = std::make_unique<CompletionWaker>(queue_.map(), queue_.pool());
  watch(get_text(queue_.map().config().handler, kNameBytes));
  launch_in_vain();
  rests_ = hold_asked_ = plan.rests;
  set_leave();
  require_thread(thread_, queue_.object(), [this] { run_executors(); });
}

// `label`: what the handler's file is called.
void QueueRunner::watch(const std::string& label) {
  if (deadline_ns_ == 0) return;
  watch_ = std::make_unique<ProgressWatch>(queue_.map(), queue_.pool(), deadline_ns_,
                                           "ipcq-runner: " + queue_.object() + ": its handler '" + label + "'",
                                           [this] { return at_late(); });
}

std::optional<AtLatePayload> QueueRunner::at_late() {
  const std::scoped_lock lock(mutex_);
  if (paused_ != 0 || held_) return {};
  const bool streams = queue_.map().control().executor.load(std::memory_order_acquire) ==
                       static_cast<std::uint64_t>(ExecutorKind::stream);
  if (!streams && !(kernel_stays_ && has_begun())) return {};  // it may wait for a place on the GPU
  return streams || queue_.is_serial() ? AtLatePayload::pauses : AtLatePayload::goes_on;
}

// Of the kernel just launched.
bool QueueRunner::has_begun() const {
  const bool works = queue_.workers() == 0 || std::atomic_ref(mailbox_->works).load() != 0;
  return works && std::atomic_ref(mailbox_->scouts).load() != 0;
}

QueueRunner::~QueueRunner() {
  {
    const std::scoped_lock lock(mutex_);
    stop_.store(true);
    set_leave();
    std::atomic_ref(mailbox_->stop).store(1);
  }
  changed_.notify_all();
  ring_always(queue_.map().control().work);
  thread_.join();
  waker_.reset();
  watch_.reset();
}

void QueueRunner::ask_to_pause() {
  const std::scoped_lock lock(mutex_);
  ++paused_;
  std::atomic_ref(mailbox_->stop).store(1);
}

bool QueueRunner::await_pause(std::uint64_t deadline) {
  std::unique_lock lock(mutex_);
  while (kernel_stays_ && now_ns() < deadline) changed_.wait_for(lock, std::chrono::milliseconds(10));
  return !kernel_stays_;
}

void QueueRunner::resume() {
  const std::scoped_lock lock(mutex_);
  --paused_;
  // A kernel that has not begun yet can be spared its end.
  const bool waits = kernel_stays_ && std::atomic_ref(mailbox_->scouts).load() == 0;
  if (paused_ == 0 && waits && !stop_.load()) std::atomic_ref(mailbox_->stop).store(0);
  changed_.notify_all();
}

void QueueRunner::set_leave() { leave_.store(stop_.load() || hold_asked_); }

bool QueueRunner::hold(std::uint64_t deadline) {
  std::unique_lock lock(mutex_);
  hold_asked_ = true;
  set_leave();
  std::atomic_ref(mailbox_->stop).store(1);
  changed_.notify_all();
  ring_always(queue_.map().control().work);
  while (!held_ && now_ns() < deadline) changed_.wait_for(lock, std::chrono::milliseconds(10));
  if (held_) return true;
  lock.unlock();
  release();
  return false;
}

void QueueRunner::set_rest(bool rests) {
  const std::scoped_lock lock(mutex_);
  rests_ = rests;
}

void QueueRunner::release() {
  const std::scoped_lock lock(mutex_);
  hold_asked_ = rests_;
  set_leave();
  changed_.notify_all();
}

void QueueRunner::rest_while_held() {
  std::unique_lock lock(mutex_);
  if (!hold_asked_) return;
  held_ = true;
  changed_.notify_all();
  changed_.wait(lock, [&] { return !hold_asked_ || stop_.load(); });
  held_ = false;
}

void QueueRunner::set_handler(std::shared_ptr<const HandlerKernels> handler, const std::string& label) {
  auto before = queue_.set_handler(std::move(handler));
  try {
    launch_in_vain();
  } catch (const Error&) {  // no memory for its variables, say
    queue_.set_handler(std::move(before));
    throw;
  }
  watch(label);
}

bool QueueRunner::make_room() {
  const std::scoped_lock lock(mutex_);
  if (!kernel_stays_) return false;
  ++paused_;
  std::atomic_ref(mailbox_->stop).store(1);
  return true;
}

void QueueRunner::run_executors() noexcept {
  try {
    const CurrentContext current(gpu_.context());
    while (!stop_.load()) {
      rest_while_held();
      if (queue_.kind() == ExecutorKind::stream) {
        stream_executor_.run();
      } else {
        run_persistent();
      }
    }
  } catch (const std::exception& e) {
    die(naming(queue_.object(), e.what()));
  }
}

// Waits until the kernel just launched has begun. If that takes too long, other queues' kernels must make room for it.
void QueueRunner::await_begin() {
  const auto has_begun_or_ended = [&] { return has_begun() || queue_.is_idle(); };
  patience_.begin();
  while (!patience_.await(has_begun_or_ended)) {
    if (seat_.take_turn(has_begun_or_ended)) break;
    patience_.double_after_turn();
  }
  runs_since_.store(now_ns());
}

// One launch of the persistent kernel, from `pending` to `ended` and the state that follows.
void QueueRunner::run_persistent() {
  while (!queue_.is_idle()) {  // launch_in_vain(), which must find its stop
    if (leave_.load()) return;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return paused_ == 0 || leave_.load(); });
    if (leave_.load()) return;
    std::atomic_ref(mailbox_->stop).store(0);
    mailbox_->scouts = mailbox_->works = 0;
    mailbox_->reason = device::EndReason::none;
    kernel_stays_ = true;
  }
  launch_persistent(1 + queue_.workers());
  await_begin();
  queue_.synchronize();
  queue_.resume = mailbox_->resume;
  queue_.limit = mailbox_->limit;
  const device::EndReason reason = mailbox_->reason;
  {
    const std::scoped_lock lock(mutex_);
    kernel_stays_ = false;
    runs_since_.store(0);
  }
  changed_.notify_all();
  if (reason == device::EndReason::idle) park();
  if (reason == device::EndReason::late) await_late();
  if (reason == device::EndReason::to_stream) queue_.change_to(ExecutorKind::stream);
  if (reason == device::EndReason::to_persistent) queue_.change_to(ExecutorKind::persistent);
}

void QueueRunner::launch_persistent(unsigned blocks) {
  device::WorkArea* area = &queue_.memory()->area[launches_ % 2];
  device::WorkArea* next_area = &queue_.memory()->area[++launches_ % 2];
  device::Mailbox* mailbox = gpu_.address(mailbox_.get());
  std::uint64_t park_after = park_after_ns_;
  void* arguments[] = {&queue_.view(), &area, &next_area, &mailbox, &queue_.resume, &queue_.limit, &park_after};
  queue_.launch(queue_.kernels().persistent, blocks, device::kBlockThreads, arguments);
}

// Where a kernel has more variables of its threads in memory than any before, the driver makes room for them at its
// first launch, and waits for the kernels of all queues. So that is now, while none stays. The kernel ends as it
// begins, and whoever launches the next waits for that, since other processes may leave it no room for a while.
void QueueRunner::launch_in_vain() {
  const CurrentContext current(gpu_.context());
  std::atomic_ref(mailbox_->stop).store(1);
  launch_persistent(1);
}

// Sleeps without a kernel until the next line is published. A line published after the kernel last loaded it is
// observed by wait_until(), which checks again after it has armed the bell.
void QueueRunner::park() {
  auto& control = queue_.map().control();
  control.parked.store(1, std::memory_order_relaxed);
  const auto published = [&] { return is_tagged(ring_.in(queue_.limit), ring_.lap(queue_.limit)); };
  (void)wait_until(control.work, Wait::sleep(), kNever, {nullptr, nullptr, &leave_}, published);
  control.parked.store(0, std::memory_order_relaxed);
}

// Waits without a kernel, because all messages left wait for their payload: until one payload is complete, or a line is
// published that the kernel has not looked at and can take.
void QueueRunner::await_late() {
  std::vector<Descriptor> late;
  Descriptor d;
  for (std::uint64_t t = queue_.resume; t < queue_.limit; ++t) {
    if (ring_.readable(t)) continue;
    if (ring_.look_in(t, d) != LineRead::present) {  // damaged since: the kernel skips it
      std::this_thread::sleep_for(std::chrono::nanoseconds(kLongestPayloadNap));
      return;
    }
    late.push_back(d);
  }
  if (late.empty()) return park();  // the last payload was completed as the kernel ended
  const auto has_line = [&] {
    if (queue_.is_serial()) return false;  // it waits for those before it
    if (!is_tagged(ring_.in(queue_.limit), ring_.lap(queue_.limit))) return false;
    if (late.size() < device::kLate) return true;
    return ring_.look_in(queue_.limit, d) != LineRead::present || d.kind != LineKind::slot;
  };
  const auto due = [&] {
    return has_line() ||
           std::any_of(late.begin(), late.end(), [&](const auto& m) { return is_written(m, queue_.pool()); });
  };
  auto& control = queue_.map().control();
  control.parked.store(1, std::memory_order_relaxed);
  const std::uint64_t start = now_ns();
  while (!leave_.load() && !due()) {
    const std::uint64_t now = now_ns();
    if (const std::uint64_t nap = nap_for_payload(now - start); nap != 0) {
      (void)wait_until(control.work, Wait::sleep(), now + nap, {nullptr, nullptr, &leave_}, due);
    } else {
      cpu_pause();
    }
  }
  control.parked.store(0, std::memory_order_relaxed);
}

}  // namespace ipcq::runner
