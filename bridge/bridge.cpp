#include "bridge.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "program/logging.hpp"

namespace ipcq::bridge {
namespace {

namespace log = ::ipcq::program::log;
using std::chrono::milliseconds;

// Outcomes that may wait for their confirmation, for each task that the queue takes: a slow server delays what is read,
// and not what is worked on.
constexpr std::size_t kUnconfirmed = 3;
constexpr milliseconds kLongestWait{200};
constexpr milliseconds kTell{10'000};  // between lines about what a stop waits for

}  // namespace

Bridge::Bridge(Engine& engine, Work& work, Counters& counters, LoopSettings settings)
    : engine_(engine), work_(work), counters_(counters), settings_(std::move(settings)), progress_(settings_.label) {}

void Bridge::run(const program::Signals& signals, const std::atomic<int>& stops) {
  while (stops.load() < 2) {
    step();
    progress_.update(counters_.done + counters_.dead, counters_.result_bytes);
    if (!stopping_ && (stops.load() > 0 || (settings_.until_dry && is_done() && engine_.is_dry()))) {
      begin_to_stop();
    }
    if (stopping_ && ((engine_.has_stopped() && is_done()) || is_late())) break;
    if (!busy_) wait(stopping_ ? -1 : signals.stop_fd());
  }
  progress_.finish();
}

void Bridge::begin_to_stop() {
  stopping_ = true;
  stopped_at_ = told_at_ = Clock::now();
  engine_.stop_reading();
  if (is_done()) return;
  log::info("stopping: {} tasks are finished first{} (a second signal stops at once)", engine_.unfinished(),
            settings_.drain_for ? fmt::format(", for at most {} s", settings_.drain_for->count()) : "");
}

bool Bridge::is_late() {
  const auto now = Clock::now();
  if (settings_.drain_for && now - stopped_at_ >= *settings_.drain_for) return true;
  if (now - told_at_ >= kTell) {
    told_at_ = now;
    log::info("stopping: {} tasks are not finished, {} of them in the queue; the others wait for the server",
              engine_.unfinished(), work_.running());
  }
  return false;
}

// Tasks may be read for which the queue has room, as long as the outcomes of earlier ones are confirmed.
std::size_t Bridge::room() const {
  const std::size_t free = work_.room();
  const std::size_t most = kUnconfirmed * (free + work_.running());
  const std::size_t unfinished = engine_.unfinished();
  if (free <= waiting_.size() || unfinished >= most) return 0;
  return std::min(free - waiting_.size(), most - unfinished);
}

void Bridge::step() {
  std::vector<Task> tasks;
  std::vector<Outcome> outcomes;
  work_.step();
  const std::size_t unfinished = engine_.unfinished();
  engine_.step({.tasks = room(), .bytes = work_.longest()}, tasks);
  busy_ = engine_.unfinished() != unfinished;  // there is room for more, or more to do
  if (busy_) {
    last_end_ = Clock::now();
    if (first_read_ == Clock::time_point{}) first_read_ = last_end_;
  }
  waiting_.insert(waiting_.end(), std::move_iterator(tasks.begin()), std::move_iterator(tasks.end()));
  work_.begin(waiting_, outcomes);
  work_.collect(outcomes);
  if (!work_.is_attached()) {
    for (auto& task : waiting_) {
      outcomes.push_back({.task = std::move(task), .ending = Ending::given_back, .reason = "its broker has gone"});
    }
    waiting_.clear();
  }
  busy_ = busy_ || !outcomes.empty();
  if (!outcomes.empty()) engine_.finish(std::move(outcomes));
  counters_.unfinished = engine_.unfinished();
}

bool Bridge::is_done() const { return waiting_.empty() && work_.running() == 0 && engine_.unfinished() == 0; }

void Bridge::wait(int stop_fd) const {
  std::vector<pollfd> descriptors;
  engine_.add_descriptors(descriptors);
  for (const int fd : {work_.fd(), stop_fd}) {
    if (fd >= 0) descriptors.push_back({.fd = fd, .events = POLLIN, .revents = 0});
  }
  const auto now = Clock::now();
  const auto until = std::min({engine_.due(), work_.due(), now + kLongestWait});
  const auto left = std::chrono::ceil<milliseconds>(until - now).count();
  static_cast<void>(poll(descriptors.data(), descriptors.size(), static_cast<int>(std::max<std::int64_t>(left, 0))));
}

}  // namespace ipcq::bridge
