// The broker's side of a runner: the process that owns a GPU for it. Spawned on demand, shared by the brokers of one
// process, ended when the last of them lets go. Requests go over a socket pair, one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/os.hpp"
#include "control/runner_wire.hpp"

namespace ipcq::detail {

// For errors: "GPU 0".
inline std::string object_of(int device) { return "GPU " + std::to_string(device); }

class RunnerLink {
 public:
  // The runner of `device` that this process has, or a new one, whose start is given up once `cancel` is readable.
  // Tries again for five seconds where the driver takes nobody in for a moment. Throws BackendError: no runner program,
  // no driver, no such GPU, given up.
  static std::shared_ptr<RunnerLink> get(int device, int cancel);
  // Where the runner program is: $IPCQ_RUNNER, whether or not it is one, else where it was found; empty when it was
  // not.
  static std::string find_program();

  ~RunnerLink();
  RunnerLink(const RunnerLink&) = delete;
  RunnerLink& operator=(const RunnerLink&) = delete;

  // Throws BackendError with the runner's words, or when it does not answer.
  RunnerReply request(RunnerRequest request);
  bool has_mps() const noexcept { return hello_.mps != 0; }
  std::string device_name() const;
  pid_t pid() const noexcept { return pid_; }
  // For epoll; copies, so that each broker has its own. The first becomes readable, with end of file, when the runner
  // answers no more; the second when its process has ended, and with it all that its kernels do. In between the driver
  // frees its memory, which takes seconds where there is much of it.
  Fd watch() const;
  Fd watch_process() const;
  bool has_ended() const noexcept;  // answers no more
  bool is_gone() const noexcept;    // nothing of it runs any more
  void kill() noexcept;
  // How the one that is gone ended: "killed by signal 9".
  std::string how_it_ended();
  // Waits for it to be gone, and kills it after five seconds. What is not gone a second later is left to itself: the
  // driver keeps it, and no signal ends that.
  void end() noexcept;

 private:
  RunnerLink(int device, int cancel);
  void await_hello(int cancel);

  const int device_;
  const std::uint32_t epoch_ = fork_epoch();
  pid_t pid_ = -1;
  Fd process_;  // its pidfd
  Fd socket_;
  RunnerHello hello_;
  std::mutex mutex_;    // one request at a time
  std::mutex reaping_;  // guards ended_
  std::string ended_;
};

}  // namespace ipcq::detail
