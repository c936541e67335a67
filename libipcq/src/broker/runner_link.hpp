// The broker's side of a runner: a process that owns a GPU for it, or, as "device" kHostRunner, one that runs users'
// own handlers on the host. get() spawns it on demand, and the brokers of one process share it; start() spawns one that
// nobody else gets. It is ended with the last shared_ptr. Requests go over a socket pair, one at a time.
//
// Thread safety: any thread may call any function. get(), start(), request(), end() and the destructor wait for the
// runner, so they are called without a broker's mutex. Invariant: a forked child shares no RunnerLink: get() starts its
// own, and the destructor does nothing there.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/os.hpp"
#include "control/runner_wire.hpp"

namespace ipcq::detail {

inline constexpr int kHostRunner = -1;

// For errors: "GPU 0", "host runner".
std::string object_of(int device);

class RunnerLink {
 public:
  // The runner of `device` that this process has, or a new one; gives its start up once `cancel` is readable. Tries for
  // five seconds while the driver accepts no new process. Throws BackendError: no runner program, no driver, no such
  // GPU, given up; NotYet, which is one, if the driver accepts none after that either. Throws SystemError or
  // PermissionError if this process lacks a descriptor or the system starts no process.
  static std::shared_ptr<RunnerLink> get(int device, int cancel);
  // The same, always a new one, which get() does not find.
  static std::shared_ptr<RunnerLink> start(int device, int cancel);
  // The path of the runner's program: $IPCQ_RUNNER or $IPCQ_HOST_RUNNER, unchecked, else where it was found; empty if
  // it was not.
  static std::string find_program(int device);

  ~RunnerLink();
  RunnerLink(const RunnerLink&) = delete;
  RunnerLink& operator=(const RunnerLink&) = delete;

  // Throws BackendError: the runner refuses, and says why; it has ended; or it has not answered for 60 s, the host
  // runner for 5 s, and is killed; longer where it copies much state. UsageError: it refuses what a user has said.
  // `attachment`: a descriptor that goes along; -1: none.
  RunnerReply request(RunnerRequest request, int attachment = -1);
  // A request about something that ends with the runner anyway: that it cannot be made, or fails, is no matter.
  void tell(RunnerOp op, std::uint64_t id) noexcept;
  // Of the GPU: 90 for 9.0.
  unsigned capability() const noexcept { return hello_.capability; }
  bool has_mps() const noexcept { return hello_.mps != 0; }
  std::string device_name() const;
  pid_t pid() const noexcept { return pid_; }
  // For epoll; copies, so that each broker has its own. The first becomes readable, with end of file, when the runner
  // answers no more; the second when its process has ended, and with it all that its kernels do. In between, the driver
  // frees its memory, which takes seconds if there is much of it.
  Fd hang_up_fd() const;
  Fd process_fd() const;
  bool is_lost() const noexcept;  // answers no more
  bool is_gone() const noexcept;  // nothing of it runs any more
  void kill() noexcept;
  // Tells it to end, and does not wait for that. Nothing may be asked of it any more.
  void hang_up() noexcept;
  // Of a host runner that is gone: the segment of the queue whose handler it died of, if it could still say so. No
  // request may be under way.
  std::string died_of();
  // How a runner that is gone ended: "killed by signal 9".
  std::string how_it_ended();
  // Waits for it to be gone, and kills it after five seconds. If it is not gone a second later, gives up: the driver
  // keeps the process, and no signal changes that.
  void end() noexcept;

 private:
  RunnerLink(int device, int cancel);
  void await_hello(int cancel);
  // For the answer, in ms.
  int patience_for(const RunnerRequest& request) const noexcept;
  void note_obituary(const RunnerReply& reply);

  const int device_;
  const std::uint32_t epoch_ = fork_epoch();
  pid_t pid_ = -1;
  Fd process_;  // its pidfd
  Fd socket_;
  RunnerHello hello_;
  std::mutex mutex_;    // held for a request and its reply
  std::mutex reaping_;  // guards what follows
  std::string ended_;
  std::string died_of_;
};

}  // namespace ipcq::detail
