#include "completion_waker.hpp"

#include <sys/prctl.h>

#include <bit>
#include <chrono>
#include <utility>

#include "base/thread.hpp"
#include "layout/text_field.hpp"

namespace ipcq::runner {

using namespace detail;

namespace {

// No comparison with other values is recorded.
constexpr std::uint64_t kSpin = 50'000;                  // ns: about the cost of a wake-up
constexpr auto kNap = std::chrono::microseconds(20);     // then: a large payload is being processed
constexpr auto kLongNap = std::chrono::milliseconds(1);  // then: a producer or its stream is delayed
constexpr std::uint64_t kLongAfter = 5'000'000;          // ns

}  // namespace

CompletionWaker::CompletionWaker(const QueueMap& queue, const PoolMap& pool)
    : queue_(queue), pool_(pool), ring_(queue.ring()) {
  require_thread(thread_, "queue '" + get_text(queue.config().segment.name, kNameBytes) + "': its waker",
                 [this] { run(); });
}

CompletionWaker::~CompletionWaker() {
  stop_.store(true, std::memory_order_release);
  ring_always(queue_.control().completion_waker);
  thread_.join();
}

bool CompletionWaker::somebody_sleeps() const noexcept {
  auto& control = queue_.control();
  if (is_armed(control.space) || is_armed(pool_.control().free)) return true;
  for (std::uint64_t left = ring_.live_groups(); left != 0; left &= left - 1) {
    if (is_armed(control.ready[static_cast<unsigned>(std::countr_zero(left))])) return true;
  }
  return queue_.handler_answers() && a_caller_sleeps();
}

bool CompletionWaker::a_caller_sleeps() const noexcept {
  for (std::uint32_t e = 0; e < queue_.config().endpoints; ++e) {
    if (is_armed(queue_.call_bell(e))) return true;
  }
  return false;
}

// Whether tickets have been processed since the last call.
bool CompletionWaker::advance() noexcept {
  before_ = std::exchange(done_, PublishedView<SharedAtomics>(ring_).first_unprocessed(done_));
  return done_ != before_;
}

void CompletionWaker::run() noexcept {
  ::prctl(PR_SET_TIMERSLACK, 1000);  // ns: short sleeps are not prolonged
  const auto has_work = [&] { return ring_.cursor(kProducers).next > done_ && somebody_sleeps(); };
  std::uint64_t since = 0;
  while (!stop_.load(std::memory_order_acquire)) {
    if (advance()) {
      wake_after_processing(queue_, pool_);
      wake_callers(queue_, before_, done_);
      since = 0;
      continue;
    }
    if (!has_work()) {
      (void)wait_until(queue_.control().completion_waker, Wait::sleep(), kNever, {nullptr, nullptr, &stop_}, has_work);
      since = 0;
      continue;
    }
    const std::uint64_t now = now_ns();
    if (since == 0) since = now;
    if (now - since < kSpin) {
      cpu_pause();
    } else if (now - since < kLongAfter) {
      std::this_thread::sleep_for(kNap);
    } else {
      std::this_thread::sleep_for(kLongNap);
    }
  }
}

}  // namespace ipcq::runner
