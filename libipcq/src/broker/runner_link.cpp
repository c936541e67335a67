#include "broker/runner_link.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "base/deadline.hpp"
#include "base/poll_until.hpp"
#include "control/control.hpp"
#include "ipcq/error.hpp"

extern char** environ;

namespace ipcq::detail {
namespace {

// Creating a context takes 0.1 to 0.4 s, much more on a machine with many GPUs; pinning memory about 0.3 s a GB.
constexpr int kStartTimeoutMs = 60'000;
constexpr int kAnswerTimeoutMs = 60'000;
constexpr int kEndTimeoutMs = 5'000;
constexpr int kKilledTimeoutMs = 1'000;
constexpr std::uint64_t kNotYetPatienceNs = 5'000'000'000;
constexpr int kNotYetPauseMs = 100;

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

bool is_program(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

// Whether `fd` becomes readable in time. Ends early when `cancel` becomes readable; -1: none.
bool await_input(int fd, int timeout_ms, int cancel = -1) {
  pollfd p[2] = {{fd, POLLIN, 0}, {cancel, POLLIN, 0}};
  return poll_until(p, 2, deadline_after(std::chrono::milliseconds(timeout_ms))) > 0 && p[0].revents != 0;
}

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

// The path of ipcq-runner. Throws BackendError with the remedy if there is none that can be run.
std::string runnable_program(int device) {
  std::string program = RunnerLink::find_program();
  if (program.empty()) {
    throw BackendError(
        object_of(device) +
        ": there is no ipcq-runner beside this program or libipcq, nor in PATH: libipcq was built or "
        "installed without CUDA; install ipcq-runner, set IPCQ_RUNNER to it, or do without a GPU (backend=host)");
  }
  if (!is_program(program)) {  // find_program() checks all places but $IPCQ_RUNNER
    throw BackendError(object_of(device) + ": IPCQ_RUNNER is '" + program +
                       "', which cannot be run: " + std::strerror(errno) +
                       "; set it to the path of ipcq-runner, unset it, or do without a GPU (backend=host)");
  }
  return program;
}

// Starts the runner program, with `socket` as its descriptor kRunnerSocket.
pid_t spawn_runner(const std::string& program, int device, int socket) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, socket, kRunnerSocket);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, kRunnerSocket + 1);  // no other descriptor of this process
  ::posix_spawnattr_init(&attributes);
  // A process group of its own: Ctrl-C is for the broker, which ends it in order. No signal is blocked in it.
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t all;
  ::sigfillset(&all);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string number = std::to_string(device);
  std::string name = "ipcq-runner";
  std::string option = "--device";
  char* const arguments[] = {name.data(), option.data(), number.data(), nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, &attributes, arguments, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) throw_system(error, "posix_spawn", program);
  return pid;
}

}  // namespace

std::string RunnerLink::find_program() {
  if (const char* path = std::getenv("IPCQ_RUNNER"); path != nullptr && *path != '\0') return path;
  std::string places[4];
  char self[PATH_MAX];
  if (const ssize_t n = ::readlink("/proc/self/exe", self, sizeof self - 1); n > 0) {
    places[0] = folder_of(std::string(self, static_cast<std::size_t>(n)));
  }
  Dl_info library{};
  if (::dladdr(reinterpret_cast<const void*>(&RunnerLink::find_program), &library) != 0 &&
      library.dli_fname != nullptr) {
    char real[PATH_MAX];
    if (::realpath(library.dli_fname, real) != nullptr) {
      const std::string lib = folder_of(real);
      places[1] = lib + "/../bin";     // build tree; installed below one lib directory
      places[2] = lib + "/../../bin";  // installed below lib/<architecture>
    }
  }
  for (const auto& place : places) {
    if (!place.empty() && is_program(place + "/ipcq-runner")) return place + "/ipcq-runner";
  }
  const char* const path = std::getenv("PATH");
  std::string rest = path != nullptr ? path : "";
  while (!rest.empty()) {
    const auto colon = rest.find(':');
    std::string program = rest.substr(0, colon) + "/ipcq-runner";
    if (is_program(program)) return program;
    rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
  }
  return {};
}

std::shared_ptr<RunnerLink> RunnerLink::get(int device, int cancel) {
  Place& place = place_of(device);
  const std::scoped_lock lock(place.mutex);
  if (auto link = place.link.lock(); link && !link->is_lost()) return link;
  for (const std::uint64_t deadline = now_ns() + kNotYetPatienceNs;;) {
    try {
      std::shared_ptr<RunnerLink> link(new RunnerLink(device, cancel));
      place.link = link;
      return link;
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
  Fd theirs(::fcntl(pair[1], F_DUPFD_CLOEXEC, kRunnerSocket + 1));  // so that spawn_runner's dup2 clears close-on-exec
  const int copied = errno;
  ::close(pair[1]);
  if (!theirs) throw_system(copied, "dup", object_of(device));
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
                       " s; does nvidia-smi answer?");
  }
  Fd unused;
  if (receive_message(socket_.get(), &hello_, sizeof hello_, unused) <= 0 || hello_.magic != kRunnerMagic ||
      hello_.abi != kAbiVersion) {
    throw BackendError(object + ": ipcq-runner ended at its start, or is of another release (" + find_program() + ")");
  }
  if (hello_.start == RunnerStart::not_yet) throw NotYet(get_text(hello_.text, sizeof hello_.text));
  if (hello_.start != RunnerStart::up) throw BackendError(get_text(hello_.text, sizeof hello_.text));
}

RunnerLink::~RunnerLink() {
  if (pid_ <= 0 || epoch_ != fork_epoch()) return;
  ::shutdown(socket_.get(), SHUT_RDWR);  // tells the runner to end, even if another process has a copy of the socket
  socket_.reset();
  end();
}

// Polls for no data: an answer that waits to be read is no end.
bool RunnerLink::is_lost() const noexcept {
  pollfd p[2] = {{socket_.get(), POLLRDHUP, 0}, {process_.get(), POLLIN, 0}};
  return ::poll(p, 2, 0) > 0;
}

bool RunnerLink::is_gone() const noexcept { return has_ended(process_); }

void RunnerLink::kill() noexcept { (void)::syscall(SYS_pidfd_send_signal, process_.get(), SIGKILL, nullptr, 0); }

std::string RunnerLink::device_name() const { return get_text(hello_.device_name, sizeof hello_.device_name); }

Fd RunnerLink::hang_up_fd() const { return copy_of(socket_, object_of(device_)); }

Fd RunnerLink::process_fd() const { return copy_of(process_, object_of(device_)); }

RunnerReply RunnerLink::request(RunnerRequest request) {
  const std::scoped_lock lock(mutex_);
  const std::string object = object_of(device_);
  RunnerReply reply;
  Fd unused;
  if (is_lost() || !send_message(socket_.get(), &request, sizeof request)) {
    throw BackendError(object + ": its runner has ended");
  }
  if (!await_input(socket_.get(), kAnswerTimeoutMs)) {
    kill();  // its memory is freed with it; its death is handled like any other
    throw BackendError(object + ": its runner did not answer within " + std::to_string(kAnswerTimeoutMs / 1000) +
                       " s and was ended");
  }
  if (receive_message(socket_.get(), &reply, sizeof reply, unused) <= 0 || reply.magic != kRunnerMagic) {
    throw BackendError(object + ": its runner ended while it was asked; its last words are on standard error");
  }
  if (reply.failed != 0) throw BackendError(get_text(reply.text, sizeof reply.text));
  return reply;
}

std::string RunnerLink::how_it_ended() {
  const std::scoped_lock lock(reaping_);
  if (!ended_.empty()) return ended_;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) {
    ended_ = "gone";  // another wait() of this process has taken its exit status
  } else if (WIFSIGNALED(status)) {
    ended_ = "killed by signal " + std::to_string(WTERMSIG(status));
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
