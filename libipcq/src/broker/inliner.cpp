#include "broker/inliner.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "base/deadline.hpp"
#include "base/thread.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

// While the runner ends and is started again, or a call of the handler takes long.
constexpr std::uint64_t kFirstPauseNs = 2'000'000'000;  // a try may hold up others for as long
constexpr unsigned kMostDoublings = 5;                  // a minute
constexpr unsigned kMostTries = 20;                     // a quarter of an hour
constexpr unsigned kMostCompilations = 3;

std::uint64_t pause_after(unsigned tries) { return kFirstPauseNs << std::min(tries, kMostDoublings); }

}  // namespace

void Inliner::look_after(const std::string& queue, const std::shared_ptr<const HandlerImage>& image) {
  if (!image || image->linked_key.empty()) return;
  const Lock lock(context_.mutex);
  if (context_.quitting) return;  // join() may be over
  if (!start_thread(thread_, [this] { run(); })) {
    context_.log(LogLevel::warning,
                 "queue '" + queue +
                     "': its handler stays linked and is not inlined, since the system refuses a thread to compile it; "
                     "raise the limit of processes (ulimit -u) and replace the handler by itself");
    return;
  }
  tasks_.push_back({.queue = queue, .linked = image});
  context_.changed.notify_all();
}

void Inliner::run() noexcept {
  Lock lock(context_.mutex);
  while (!context_.quitting) {
    const auto next = std::min_element(tasks_.begin(), tasks_.end(),
                                       [](const Task& a, const Task& b) { return a.due_ns < b.due_ns; });
    if (next == tasks_.end()) {
      context_.changed.wait(lock);
      continue;
    }
    if (const std::uint64_t now = now_ns(); now < next->due_ns) {
      context_.changed.wait_for(lock, std::chrono::nanoseconds(next->due_ns - now));
      continue;
    }
    Task task = std::move(*next);
    tasks_.erase(next);
    bool done = false;
    {
      const Unlocked unlocked(lock);
      done = work_on(task);
    }
    if (done) continue;
    task.due_ns = now_ns() + pause_after(task.tries++);
    tasks_.push_back(std::move(task));
  }
}

void Inliner::put_in_place(Task& task) {
  const std::string object = "queue '" + task.queue + "'";
  if (!task.whole) {
    QueueOptions options;
    RunnerKey gpu;
    {
      const Lock lock(context_.mutex);
      const QueueEntry& q = registry_.find(task.queue);
      if (q.image != task.linked) return;
      options = q.options;
      gpu = runner_on(q.device, q);
    }
    task.whole = registry_.image_for(object, options, gpu, {.only_of = task.linked->linked_key});
  }
  if (changes_.replace_image(task.queue, task.linked, task.whole)) {
    context_.log(LogLevel::info, object + ": its handler is inlined from now on");
  }
}

bool Inliner::work_on(Task& task) noexcept {
  std::string why;
  bool may_pass = false;
  try {
    put_in_place(task);
    return true;
  } catch (const NotFoundError& e) {  // the queue, or the handler's file
    const Lock lock(context_.mutex);
    const bool is_there = registry_.queues().count(task.queue) != 0;
    may_pass = registry_.comes_back(task.queue);
    if (!is_there && !may_pass) return true;
    why = e.what();
  } catch (const BackendError& e) {
    may_pass = true;
    why = e.what();
  } catch (const SystemError& e) {
    may_pass = true;
    why = e.what();
  } catch (const std::exception& e) {
    why = e.what();
  }
  {
    const Lock lock(context_.mutex);
    if (context_.stopped) return true;
  }
  if (may_pass && task.tries < (task.whole ? kMostTries : kMostCompilations)) return false;
  context_.log(LogLevel::warning, why +
                                      "; so its handler stays linked and is not inlined, and goes on, slower; "
                                      "replace the handler by itself to have that done");
  return true;
}

void Inliner::join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace ipcq::detail
