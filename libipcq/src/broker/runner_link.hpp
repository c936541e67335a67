// The broker's side of a runner: the process that owns a GPU for it. Spawned on demand, shared by the brokers of one
// process, ended when the last of them lets go. Requests go over a socket pair, one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/os.hpp"
#include "executor/executor.hpp"
#include "ipcq/error.hpp"
#include "ipcq/options.hpp"

namespace ipcq::detail {

enum class RunnerOp : std::uint32_t {
  allocate = 1,  // bytes -> DeviceMemory, block
  free,          // block
  start_queue,   // queue and pool segment, block (0: none), handler, executor, park_after_ns -> queue
  stop_queue,    // queue
  check,         // whether its context works still
};

struct RunnerRequest {
  std::uint32_t magic = kRunnerMagic;
  std::uint32_t protocol = kRunnerProtocol;
  RunnerOp op = RunnerOp::allocate;
  ExecutorKind executor = ExecutorKind::persistent;
  std::uint8_t reserved[3] = {};
  std::uint64_t id = 0;  // of a block or a queue
  std::uint64_t bytes = 0;
  std::uint64_t park_after_ns = 0;
  char queue_segment[256] = {};
  char pool_segment[256] = {};
  char handler[kNameBytes] = {};
};

struct RunnerReply {
  std::uint32_t magic = kRunnerMagic;
  std::uint32_t failed = 0;  // 1: `text` says why
  std::uint64_t id = 0;
  DeviceMemory memory;
  char text[512] = {};
};

enum class RunnerStart : std::uint32_t {
  up = 0,
  failed,   // `text` says why
  not_yet,  // the same, and another process may be let in a moment later
};

// The driver does not let this process in, ever; another one perhaps a moment later.
class NotYet : public BackendError {
 public:
  using BackendError::BackendError;
};

// What a runner says of itself once, when it is up (or could not come up).
struct RunnerHello {
  std::uint32_t magic = kRunnerMagic;
  std::uint32_t protocol = kRunnerProtocol;
  RunnerStart start = RunnerStart::up;
  std::uint32_t mps = 0;  // 1: it runs under the multi-process service
  char device_name[kNameBytes] = {};
  char text[512] = {};
};

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
