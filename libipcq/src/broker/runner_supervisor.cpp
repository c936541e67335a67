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

std::shared_ptr<RunnerLink> RunnerSupervisor::get(int device) {
  const std::string object = object_of(device);
  Watched started;  // if it is not used, released after the mutex is unlocked
  {
    Lock lock(context_.mutex);
    context_.check_running(object);
    if (const auto known = runners_.find(device); known != runners_.end()) {
      if (!known->second.link->is_lost()) return known->second.link;
      await_gone(lock, device);
    }
  }
  try {
    started.link = RunnerLink::get(device, context_.quit.get());
    started.socket = started.link->hang_up_fd();
    started.process = started.link->process_fd();
  } catch (const BackendError&) {
    const Lock lock(context_.mutex);
    context_.check_running(object);  // if the broker has stopped, that is the cause
    throw;
  }
  const Lock lock(context_.mutex);
  context_.check_running(object);
  if (const auto known = runners_.find(device); known != runners_.end()) return known->second.link;
  // Started with the first runner, so that a failure is reported to the caller: when a runner dies, the thread must
  // exist.
  require_thread(thread_, context_.self() + ": what creates anew what a runner takes along", [this] { recreate(); });
  watch_descriptors(device, started);
  const RunnerLink& link = *started.link;
  context_.log(LogLevel::info, device == kHostRunner ? object + ": pid " + std::to_string(link.pid())
                                                     : object + " (" + link.device_name() + "): runner pid " +
                                                           std::to_string(link.pid()) + ", " +
                                                           (link.has_mps() ? "under MPS" : "without MPS"));
  return (runners_[device] = std::move(started)).link;
}

std::shared_ptr<RunnerLink> RunnerSupervisor::require(const std::string& object, int device) {
  try {
    return get(device);
  } catch (const BackendError& e) {
    throw BackendError(
        object + (device == kHostRunner ? ": its handler cannot run here: " : ": backend 'cuda' cannot run here: ") +
        e.what());
  }
}

void RunnerSupervisor::watch_descriptors(int device, const Watched& runner) {
  try {
    context_.polls.watch(runner.socket.get(), PollSet::For::hang_up);  // answers are read by the thread that asked
    context_.polls.watch(runner.process.get());
  } catch (const SystemError& e) {
    context_.polls.unwatch(runner.socket.get());
    throw SystemError(e.code(), "runner of " + object_of(device) + ": " + e.what());
  }
}

bool RunnerSupervisor::has_mps(int device) const {
  const auto runner = runners_.find(device);
  return runner != runners_.end() && runner->second.link->has_mps();
}

bool RunnerSupervisor::serve(int fd) {
  const auto it = std::find_if(runners_.begin(), runners_.end(), [&](const auto& r) {
    return r.second.socket.get() == fd || r.second.process.get() == fd;
  });
  if (it == runners_.end()) return false;
  const int device = it->first;
  const std::shared_ptr<RunnerLink> link = it->second.link;
  // Else the event was for an earlier owner of this number.
  if (link->is_lost()) lose(device);
  if (link->is_gone()) bury(device);
  return true;
}

// Its kernels may still write until its process has ended.
void RunnerSupervisor::lose(int device) {
  Watched& r = runners_.at(device);
  if (r.lost_at_ns != 0) return;
  r.lost_at_ns = now_ns();
  some_lost_ = true;
  context_.polls.unwatch(r.socket.get());
  user_->on_runner_lost(device);
}

// The driver may keep a killed process for any time. Its queues are created anew only after that.
void RunnerSupervisor::end_lost() {
  if (!some_lost_) return;
  some_lost_ = false;
  for (auto& [device, r] : runners_) {
    if (r.lost_at_ns == 0 || r.killed) continue;
    if (now_ns() - r.lost_at_ns < kEndPatienceNs) {
      some_lost_ = true;
      continue;
    }
    r.killed = true;
    r.link->kill();
    context_.log(LogLevel::error,
                 object_of(device) + ": its runner (pid " + std::to_string(r.link->pid()) +
                     ") answers no more, has not ended for 5 s and is killed; its queues are created anew once "
                     "it has ended");
  }
}

// Waits until the control thread has seen that the lost runner is gone.
void RunnerSupervisor::await_gone(Lock& lock, int device) {
  const auto lost = runners_.at(device).link;
  const bool over = context_.changed.wait_for(lock, kGonePatience, [&] {
    const auto known = runners_.find(device);
    return context_.stopped || known == runners_.end() || known->second.link != lost;
  });
  context_.check_running(object_of(device));
  if (!over) {
    throw BackendError(object_of(device) + ": its last runner (pid " + std::to_string(lost->pid()) +
                       ") has not ended yet; try again");
  }
}

// The runner is gone, and its memory with it: what lay there ends, and is created anew under the same names.
void RunnerSupervisor::bury(int device) {
  lose(device);
  Watched r = std::move(runners_.at(device));
  runners_.erase(device);
  context_.polls.unwatch(r.process.get());
  ++deaths_;
  Aftermath after = user_->on_runner_gone({.device = device,
                                           .how = r.link->how_it_ended(),
                                           .under_mps = r.link->has_mps(),
                                           .died_of = device == kHostRunner ? r.link->died_of() : std::string()});
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
  }
}

void RunnerSupervisor::join() {
  if (thread_.joinable()) thread_.join();
}

void RunnerSupervisor::end_lost_for_good() noexcept {
  for (auto& [device, r] : runners_) {
    if (r.link->is_lost()) r.link->end();
  }
}

}  // namespace ipcq::detail
