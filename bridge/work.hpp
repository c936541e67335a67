// Work: tasks as calls of a queue, whose handler or servers answer them. It attaches to the broker anew when that has
// gone. For one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <ipcq/session.hpp>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "counters.hpp"
#include "settings.hpp"
#include "tasks/task.hpp"

namespace ipcq::bridge {

class Work {
 public:
  // Attaches; waits for broker and queue as the settings say. Throws as connect() and Session::client() do; UsageError
  // where the queue takes no calls.
  Work(WorkSettings settings, Counters& counters);
  ~Work();
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  // Tasks that the queue can take beside those that it has; 0 without broker or server.
  std::size_t room() const noexcept;
  // Bytes of a task that the queue can take; 0 without broker.
  std::size_t longest() const noexcept { return attached_ == nullptr ? 0 : longest_; }
  std::size_t running() const noexcept { return running_.size(); }
  bool is_attached() const noexcept { return attached_ != nullptr; }

  // Begins on as many tasks, from the front, as the queue has room for. Those that cannot be worked on come as
  // outcomes.
  void begin(std::deque<Task>& tasks, std::vector<Outcome>& outcomes);
  // Appends the outcomes that are there.
  void collect(std::vector<Outcome>& outcomes);
  // Attaches anew, and looks for broker and servers, where that is due.
  void step();

  // Readable while collect() may have something; -1: look every millisecond.
  int fd() const noexcept { return fd_; }
  Clock::time_point due() const noexcept;

 private:
  struct Running {
    Task task;
    Call call;
    std::vector<std::string> parts;
  };
  struct Attached;
  using RunningTasks = std::unordered_map<std::uint64_t, Running>;

  void attach(Duration wait_for);
  void look();
  void tell_no_server() const;
  void miss_server();
  void lose(Status why, std::vector<Outcome>& outcomes);
  // Whether its call is over.
  bool receive(Running& running, std::vector<Outcome>& outcomes);

  WorkSettings settings_;
  Counters& counters_;
  std::size_t most_ = 0, longest_ = 0;
  int fd_ = -1;
  std::unique_ptr<Attached> attached_;
  RunningTasks running_;      // behind attached_: calls must not outlive their client
  bool has_server_ = false;   // or a handler
  std::string last_failure_;  // why it could not attach
  Clock::time_point next_look_{};
};

}  // namespace ipcq::bridge
