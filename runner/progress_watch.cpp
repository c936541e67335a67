#include "progress_watch.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include "base/deadline.hpp"
#include "base/thread.hpp"
#include "control/runner_wire.hpp"
#include "layout/executor_memory.hpp"

namespace ipcq::runner {

using namespace detail;

namespace {

// How often the thread looks: often enough that a handler is found out soon after its deadline.
std::chrono::nanoseconds pause_for(std::uint64_t deadline_ns) {
  return std::chrono::nanoseconds(std::clamp<std::uint64_t>(deadline_ns / 8, 1'000'000, 100'000'000));
}

}  // namespace

ProgressWatch::ProgressWatch(const QueueMap& queue, const PoolMap& pool, std::uint64_t deadline_ns, std::string object,
                             std::function<std::optional<AtLatePayload>()> at_late, std::function<void()> last_words)
    : queue_(queue),
      pool_(pool),
      deadline_ns_(deadline_ns),
      object_(std::move(object)),
      at_late_(std::move(at_late)),
      last_words_(std::move(last_words)) {
  require_thread(thread_, object_ + ": the watch of its deadline", [this] { run(); });
}

ProgressWatch::~ProgressWatch() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool ProgressWatch::find_oldest(AtLatePayload at_late) noexcept {
  const auto& ring = queue_.ring();
  const PublishedView<SharedAtomics> view(ring);
  oldest_ = view.first_unprocessed(oldest_);
  const std::uint64_t next = ring.cursor(kProducers).next;
  const unsigned most_late = at_late == AtLatePayload::pauses ? 0 : device::kLate;
  unsigned late = 0;
  for (std::uint64_t t = oldest_; t < next && late <= most_late; ++t) {
    if (view.is_processed(t)) continue;
    Descriptor d;
    if (ring.look_in(t, d) == LineRead::absent) return false;  // what comes after it waits for it
    if (!is_written(d, pool_)) {
      ++late;
      continue;
    }
    watched_ = t;
    return true;
  }
  return false;
}

void ProgressWatch::run() noexcept {
  std::uint64_t seen = kNoTicket;
  std::uint64_t since = 0;
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, pause_for(deadline_ns_), [this] { return stop_; })) {
    const auto at_late = at_late_();
    const bool found = at_late && find_oldest(*at_late);
    if (!found || watched_ != seen) {
      seen = found ? watched_ : kNoTicket;
      since = now_ns();
    } else if (now_ns() - since > deadline_ns_) {
      std::fprintf(stderr, "%s has not returned for %.3f s from the message of ticket %llu: its process ends\n",
                   object_.c_str(), static_cast<double>(deadline_ns_) / 1e9, static_cast<unsigned long long>(seen));
      if (last_words_) last_words_();
      ::_exit(kOverdueExitCode);
    }
  }
}

}  // namespace ipcq::runner
