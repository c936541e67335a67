#include "broker/runner_supervisor.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <optional>
#include <utility>

#include "base/deadline.hpp"
#include "base/thread.hpp"

namespace ipcq::detail {
namespace {

// How often the thread looks for a recreation whose time to be tried again has come.
constexpr auto kLookEvery = std::chrono::milliseconds(50);
// How long a lost runner may take to end before it is killed.
constexpr std::uint64_t kEndPatienceNs = 5'000'000'000;
// How long the creation of something waits for a lost runner to be gone.
constexpr auto kGonePatience = std::chrono::seconds(10);

}  // namespace

std::shared_ptr<RunnerLink> RunnerSupervisor::get(const RunnerKey& key) {
  const std::string object = object_of(key);
  Watched started;  // if it is not used, released after the mutex is unlocked
  {
    Lock lock(context_.mutex);
    context_.check_running(object);
    if (const auto known = runners_.find(key); known != runners_.end()) {
      if (!known->second.link->is_lost()) return known->second.link;
      await_gone(lock, key);
    }
  }
  try {
    started.link = key.is_of_one_queue() ? RunnerLink::start(key.device, context_.quit.get())
                                         : RunnerLink::get(key.device, context_.quit.get());
    started.socket = started.link->hang_up_fd();
    started.process = started.link->process_fd();
  } catch (const BackendError&) {
    const Lock lock(context_.mutex);
    context_.check_running(object);  // if the broker has stopped, that is the cause
    throw;
  }
  const Lock lock(context_.mutex);
  context_.check_running(object);
  if (const auto known = runners_.find(key); known != runners_.end()) return known->second.link;
  // Started with the first runner, so that a failure is reported to the caller: when a runner dies, the thread must
  // exist.
  require_thread(thread_, context_.self() + ": what creates anew what a runner takes along", [this] { recreate(); });
  watch_descriptors(key, started);
  tell_of_start(key, *started.link);
  return (runners_[key] = std::move(started)).link;
}

// Under MPS a fault mostly fails the contexts of all clients of the server, the shared runner's among them.
void RunnerSupervisor::tell_of_start(const RunnerKey& key, const RunnerLink& link) const {
  const std::string pid = "pid " + std::to_string(link.pid());
  if (key.device == kHostRunner) return context_.log(LogLevel::info, object_of(key) + ": " + pid);
  context_.log(LogLevel::info, object_of(key) + " (" + link.device_name() + "): runner " + pid + ", " +
                                   (link.has_mps() ? "under MPS" : "without MPS"));
  if (!key.is_of_one_queue() || !link.has_mps()) return;
  context_.log(
      LogLevel::warning,
      "queue '" + key.queue + "': isolate=yes keeps faults of its kernels from no other queue of " +
          object_of(key.device) +
          " under MPS, whose server fails all of its clients; run without MPS where they are to be kept apart");
}

std::shared_ptr<RunnerLink> RunnerSupervisor::require(const std::string& object, const RunnerKey& key) {
  try {
    return get(key);
  } catch (const BackendError& e) {
    throw BackendError(
        object +
        (key.device == kHostRunner ? ": its handler cannot run here: " : ": backend 'cuda' cannot run here: ") +
        e.what());
  }
}

void RunnerSupervisor::dismiss_own(const std::string& queue) noexcept {
  Watched own;  // released after the mutex is unlocked
  const Lock lock(context_.mutex);
  const auto it = std::find_if(runners_.begin(), runners_.end(), [&](const auto& r) { return r.first.queue == queue; });
  if (it == runners_.end() || it->second.link->is_lost()) return;
  unwatch_descriptors(it->second);
  own = std::move(it->second);
  runners_.erase(it);
}

void RunnerSupervisor::watch_descriptors(const RunnerKey& key, const Watched& runner) {
  try {
    context_.polls.watch(runner.socket.get(), PollSet::For::hang_up);  // answers are read by the thread that asked
    context_.polls.watch(runner.process.get());
  } catch (const SystemError& e) {
    context_.polls.unwatch(runner.socket.get());
    throw SystemError(e.code(), "runner of " + object_of(key) + ": " + e.what());
  }
}

void RunnerSupervisor::unwatch_descriptors(const Watched& runner) noexcept {
  context_.polls.unwatch(runner.socket.get());
  context_.polls.unwatch(runner.process.get());
}

bool RunnerSupervisor::has_mps(int device) const {
  return std::any_of(runners_.begin(), runners_.end(),
                     [&](const auto& r) { return r.first.device == device && r.second.link->has_mps(); });
}

bool RunnerSupervisor::serve(int fd) {
  const auto it = std::find_if(runners_.begin(), runners_.end(), [&](const auto& r) {
    return r.second.socket.get() == fd || r.second.process.get() == fd;
  });
  if (it == runners_.end()) return false;
  const RunnerKey key = it->first;
  const std::shared_ptr<RunnerLink> link = it->second.link;
  // Else the event was for an earlier owner of this number.
  if (link->is_lost()) lose(key);
  if (link->is_gone()) bury(key);
  return true;
}

// Its kernels may still write until its process has ended.
void RunnerSupervisor::lose(const RunnerKey& key) {
  Watched& r = runners_.at(key);
  if (r.lost_at_ns != 0) return;
  r.lost_at_ns = now_ns();
  some_lost_ = true;
  context_.polls.unwatch(r.socket.get());
  user_->on_runner_lost(key);
}

// The driver may keep a killed process for any time. Its queues are created anew only after that.
void RunnerSupervisor::end_lost() {
  if (!some_lost_) return;
  some_lost_ = false;
  for (auto& [key, r] : runners_) {
    if (r.lost_at_ns == 0 || r.killed) continue;
    if (now_ns() - r.lost_at_ns < kEndPatienceNs) {
      some_lost_ = true;
      continue;
    }
    r.killed = true;
    r.link->kill();
    context_.log(LogLevel::error,
                 object_of(key) + ": its runner (pid " + std::to_string(r.link->pid()) +
                     ") answers no more, has not ended for 5 s and is killed; its queues are created anew once "
                     "it has ended");
  }
}

// Waits until the control thread has seen that the lost runner is gone.
void RunnerSupervisor::await_gone(Lock& lock, const RunnerKey& key) {
  const auto lost = runners_.at(key).link;
  const bool over = context_.changed.wait_for(lock, kGonePatience, [&] {
    const auto known = runners_.find(key);
    return context_.stopped || known == runners_.end() || known->second.link != lost;
  });
  context_.check_running(object_of(key));
  if (!over) {
    throw BackendError(object_of(key) + ": its last runner (pid " + std::to_string(lost->pid()) +
                       ") has not ended yet; try again");
  }
}

// The runner is gone, and its memory with it: what lay there ends, and is created anew under the same names.
void RunnerSupervisor::bury(const RunnerKey& key) {
  lose(key);
  Watched r = std::move(runners_.at(key));
  runners_.erase(key);
  context_.polls.unwatch(r.process.get());
  ++deaths_;
  Aftermath after = user_->on_runner_gone({.key = key,
                                           .how = r.link->how_it_ended(),
                                           .under_mps = r.link->has_mps(),
                                           .died_of = key.device == kHostRunner ? r.link->died_of() : std::string()});
  std::move(after.remains.begin(), after.remains.end(), std::back_inserter(remains_));
  if (!context_.stopped) {
    for (Recreation& what : after.recreate) recreations_.add(std::move(what));
  }
  context_.changed.notify_all();
}

// The thread that frees and creates anew, in order.
void RunnerSupervisor::recreate() noexcept {
  Lock lock(context_.mutex);
  while (!context_.stopped) {
    if (!has_work()) {
      context_.changed.wait(lock, [this] { return context_.stopped || has_work(); });
      continue;
    }
    {
      std::vector<std::shared_ptr<void>> remains = std::exchange(remains_, {});
      const Unlocked unlocked(lock);
      for (auto& r : remains) r.reset();
    }
    if (!recreations_.empty() && !context_.stopped) recreate_next(lock);
  }
}

// A failure may pass: an MPS server that has lost a client accepts new ones only after a moment, and clients may keep
// the old memory mapped for a while. RecreationQueue decides when to give up.
void RunnerSupervisor::recreate_next(Lock& lock) {
  const std::optional<Recreation> next = recreations_.next(now_ns());
  if (!next) {
    context_.changed.wait_for(lock, kLookEvery, [this] { return context_.stopped; });
    return;
  }
  std::string why;
  bool created = false;
  bool final = false;
  try {
    const Unlocked unlocked(lock);  // more runners may have died when it returns
    next->create();
    created = true;
  } catch (const UsageError& e) {
    why = e.what();
    final = true;
  } catch (const std::exception& e) {
    why = e.what();
  }
  if (created) {
    recreations_.succeeded(*next);
  } else if (!context_.stopped) {
    for (const std::string& text : recreations_.failed(*next, why, final, now_ns())) {
      context_.log(LogLevel::error, text);
    }
    if (next->kind == Recreation::Kind::queue && !recreations_.awaits_queue(next->name)) {
      const Unlocked unlocked(lock);
      dismiss_own(next->name);
    }
  }
}

void RunnerSupervisor::join() {
  if (thread_.joinable()) thread_.join();
}

void RunnerSupervisor::end_lost_for_good() noexcept {
  for (auto& [key, r] : runners_) {
    if (r.link->is_lost()) r.link->end();
  }
}

// Those that no other broker shares are told first, so that they end at the same time.
void RunnerSupervisor::give_up_all() noexcept {
  remains_.clear();
  for (auto& [key, r] : runners_) {
    if (key.is_of_one_queue()) r.link->hang_up();
  }
  runners_.clear();
}

}  // namespace ipcq::detail
