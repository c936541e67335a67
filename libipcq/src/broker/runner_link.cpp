#include "broker/runner_link.hpp"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "base/child_program.hpp"
#include "base/deadline.hpp"
#include "base/poll_until.hpp"
#include "control/control.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

// Creating a context takes 0.1 to 0.4 s, much more on a machine with many GPUs; pinning memory about 0.3 s a GB.
constexpr int kStartTimeoutMs = 60'000;
constexpr int kAnswerTimeoutMs = 60'000;
constexpr int kHandlersTimeoutMs = 5'000;            // of the host runner: until a handler is loaded, or returns
constexpr std::uint64_t kLeastBytesPerMs = 100'000;  // of state that a runner copies
constexpr std::uint64_t kMostCopyMs = 3'600'000;
constexpr int kEndTimeoutMs = 5'000;
constexpr int kKilledTimeoutMs = 1'000;
constexpr std::uint64_t kNotYetPatienceNs = 5'000'000'000;
constexpr int kNotYetPauseMs = 100;

// Whether `fd` becomes readable in time. Ends early when `cancel` becomes readable; -1: none.
bool await_input(int fd, int timeout_ms, int cancel = -1) {
  pollfd p[2] = {{fd, POLLIN, 0}, {cancel, POLLIN, 0}};
  return poll_until(p, 2, deadline_after(std::chrono::milliseconds(timeout_ms))) > 0 && p[0].revents != 0;
}

bool is_obituary(const RunnerReply& reply) { return reply.magic == kRunnerMagic && reply.id == kObituary; }

// The runner of one device in this process. `mutex` guards `link`, and is held while a runner starts: a slow start
// delays only its own device.
struct Place {
  std::mutex mutex;
  std::weak_ptr<RunnerLink> link;
};

// A forked child has places of its own, since those of the parent may have been locked at the fork.
Place& place_of(int device) {
  static std::mutex mutex;
  static std::map<std::pair<std::uint32_t, int>, Place> all;
  const std::scoped_lock lock(mutex);
  return all[{fork_epoch(), device}];
}

struct Program {
  const char* name;
  const char* variable;  // names its path
};
Program program_of(int device) noexcept {
  if (device == kHostRunner) return {"ipcq-host-runner", "IPCQ_HOST_RUNNER"};
  return {"ipcq-runner", "IPCQ_RUNNER"};
}

// What to do without a runner.
std::string way_out(int device) {
  return device == kHostRunner ? "or do without a handler of your own" : "or do without a GPU (backend=host)";
}

// The path of the runner's program. Throws BackendError with the remedy if there is none that can be run.
std::string runnable_program(int device) {
  const Program p = program_of(device);
  std::string program = RunnerLink::find_program(device);
  if (program.empty()) {
    throw BackendError(object_of(device) + ": there is no " + p.name +
                       " beside this program or libipcq, nor in PATH: " +
                       (device == kHostRunner ? "libipcq was installed without the programs"
                                              : "libipcq was built or installed without CUDA") +
                       "; install " + p.name + ", set " + p.variable + " to it, " + way_out(device));
  }
  if (!is_program(program)) {  // find_program() checks all places but the variable
    throw BackendError(object_of(device) + ": " + p.variable + " is '" + program + "', which cannot be run: " +
                       std::strerror(errno) + "; set it to the path of " + p.name + ", unset it, " + way_out(device));
  }
  return program;
}

// Starts the runner's program, with `socket` as its descriptor kRunnerSocket.
pid_t spawn_runner(const std::string& program, int device, int socket) {
  static_assert(kRunnerSocket == kChildDescriptor);
  std::vector<std::string> arguments;
  if (device != kHostRunner) arguments = {"--device", std::to_string(device)};
  return spawn_program(object_of(device), program, std::move(arguments), socket, STDERR_FILENO, STDERR_FILENO);
}

}  // namespace

std::string object_of(int device) { return device == kHostRunner ? "host runner" : "GPU " + std::to_string(device); }

std::string RunnerLink::find_program(int device) {
  const Program p = program_of(device);
  return detail::find_program(p.name, p.variable);
}

std::shared_ptr<RunnerLink> RunnerLink::get(int device, int cancel) {
  Place& place = place_of(device);
  const std::scoped_lock lock(place.mutex);
  if (auto link = place.link.lock(); link && !link->is_lost()) return link;
  std::shared_ptr<RunnerLink> link = start(device, cancel);
  place.link = link;
  return link;
}

std::shared_ptr<RunnerLink> RunnerLink::start(int device, int cancel) {
  for (const std::uint64_t deadline = now_ns() + kNotYetPatienceNs;;) {
    try {
      return std::shared_ptr<RunnerLink>(new RunnerLink(device, cancel));
    } catch (const NotYet&) {
      if (now_ns() >= deadline || await_input(cancel, kNotYetPauseMs)) throw;
    }
  }
}

RunnerLink::RunnerLink(int device, int cancel) : device_(device) {
  const std::string program = runnable_program(device);
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    throw_system(errno, "socketpair", object_of(device));
  socket_ = Fd(pair[0]);
  Fd theirs(pair[1]);
  pid_ = spawn_runner(program, device, theirs.get());
  theirs.reset();  // or this process would not see the runner close its end
  process_ = open_pidfd(pid_);
  if (!process_) {
    const int why = errno;
    ::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);
    throw_system(why, "pidfd_open", object_of(device));
  }
  try {
    await_hello(cancel);
  } catch (...) {
    kill();
    end();
    throw;
  }
}

void RunnerLink::await_hello(int cancel) {
  const std::string object = object_of(device_);
  if (!await_input(socket_.get(), kStartTimeoutMs, cancel)) {
    if (cancel >= 0 && await_input(cancel, 0)) {
      throw BackendError(object + ": the start of its runner was given up, since the broker stops");
    }
    throw BackendError(object + ": its runner did not come up within " + std::to_string(kStartTimeoutMs / 1000) +
                       " s; " + (device_ == kHostRunner ? "is the machine overloaded?" : "does nvidia-smi answer?"));
  }
  Fd unused;
  if (receive_message(socket_.get(), &hello_, sizeof hello_, unused) <= 0 || hello_.magic != kRunnerMagic ||
      hello_.abi != kAbiVersion) {
    throw BackendError(object + ": " + program_of(device_).name + " ended at its start, or is of another release (" +
                       find_program(device_) + ")");
  }
  if (hello_.start == RunnerStart::not_yet) throw NotYet(get_text(hello_.text, sizeof hello_.text));
  if (hello_.start != RunnerStart::up) throw BackendError(get_text(hello_.text, sizeof hello_.text));
}

RunnerLink::~RunnerLink() {
  if (pid_ <= 0 || epoch_ != fork_epoch()) return;
  hang_up();
  socket_.reset();
  end();
}

// Polls for no data: an answer that waits to be read is no end.
bool RunnerLink::is_lost() const noexcept {
  pollfd p[2] = {{socket_.get(), POLLRDHUP, 0}, {process_.get(), POLLIN, 0}};
  return ::poll(p, 2, 0) > 0;
}

bool RunnerLink::is_gone() const noexcept { return has_ended(process_); }

// A shutdown also reaches the runner if another process has a copy of the socket.
void RunnerLink::hang_up() noexcept { (void)::shutdown(socket_.get(), SHUT_RDWR); }

void RunnerLink::kill() noexcept { (void)::syscall(SYS_pidfd_send_signal, process_.get(), SIGKILL, nullptr, 0); }

std::string RunnerLink::device_name() const { return get_text(hello_.device_name, sizeof hello_.device_name); }

Fd RunnerLink::hang_up_fd() const { return copy_of(socket_, object_of(device_)); }

Fd RunnerLink::process_fd() const { return copy_of(process_, object_of(device_)); }

int RunnerLink::patience_for(const RunnerRequest& request) const noexcept {
  const bool copies =
      request.op == RunnerOp::make_state || request.op == RunnerOp::save_state || request.op == RunnerOp::load_state;
  const std::uint64_t more = copies ? request.bytes / kLeastBytesPerMs : 0;
  return (device_ == kHostRunner ? kHandlersTimeoutMs : kAnswerTimeoutMs) +
         static_cast<int>(std::min<std::uint64_t>(more, kMostCopyMs));
}

RunnerReply RunnerLink::request(RunnerRequest request, int attachment) {
  const std::scoped_lock lock(mutex_);
  const std::string object = object_of(device_);
  RunnerReply reply;
  Fd unused;
  if (is_lost() || !send_message(socket_.get(), &request, sizeof request, attachment)) {
    throw BackendError(object + ": its runner has ended");
  }
  const int patience = patience_for(request);
  if (!await_input(socket_.get(), patience)) {
    kill();  // its memory is freed with it; its death is handled like any other
    throw BackendError(object + ": its runner did not answer within " + std::to_string(patience / 1000) +
                       " s and was ended");
  }
  const int received = receive_message(socket_.get(), &reply, sizeof reply, unused);
  if (received <= 0 || reply.magic != kRunnerMagic || is_obituary(reply)) {
    note_obituary(reply);
    const bool gone = await_input(process_.get(), kKilledTimeoutMs);
    if (!gone && received > 0) kill();  // what it would answer from here on belongs to earlier requests
    throw BackendError(object + ": its runner ended while it was asked (" +
                       (gone           ? how_it_ended()
                        : received > 0 ? "what it says makes no sense, and it was ended"
                                       : "its process is still there") +
                       ")");
  }
  if (reply.failed == kUsageFailure) throw UsageError(get_text(reply.text, sizeof reply.text));
  if (reply.failed != 0) throw BackendError(get_text(reply.text, sizeof reply.text));
  return reply;
}

void RunnerLink::tell(RunnerOp op, std::uint64_t id) noexcept {
  RunnerRequest r;
  r.op = op;
  r.id = id;
  try {
    (void)request(r);
  } catch (const std::exception&) {
  }
}

void RunnerLink::note_obituary(const RunnerReply& reply) {
  const std::scoped_lock lock(reaping_);
  if (is_obituary(reply)) died_of_ = get_text(reply.text, sizeof reply.text);
}

std::string RunnerLink::died_of() {
  RunnerReply last;
  pollfd p{socket_.get(), POLLIN, 0};
  Fd unused;
  while (::poll(&p, 1, 0) > 0 && receive_message(socket_.get(), &last, sizeof last, unused) > 0) note_obituary(last);
  const std::scoped_lock lock(reaping_);
  return died_of_;
}

std::string RunnerLink::how_it_ended() {
  const std::scoped_lock lock(reaping_);
  if (!ended_.empty()) return ended_;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) {
    ended_ = "gone";  // another wait() of this process has taken its exit status
  } else if (WIFSIGNALED(status)) {
    ended_ = "killed by signal " + std::to_string(WTERMSIG(status));
  } else if (WEXITSTATUS(status) == kOverdueExitCode) {
    ended_ = "a handler was over its deadline";
  } else {
    ended_ = "ended with exit code " + std::to_string(WEXITSTATUS(status));
  }
  return ended_;
}

void RunnerLink::end() noexcept {
  if (!await_input(process_.get(), kEndTimeoutMs)) {
    kill();
    if (!await_input(process_.get(), kKilledTimeoutMs)) return;
  }
  (void)how_it_ended();
}

}  // namespace ipcq::detail
