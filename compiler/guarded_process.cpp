#include "guarded_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include <fmt/format.h>

#include "environment.hpp"
#include "image_file.hpp"
#include "program/exit_code.hpp"
#include "program/file_descriptor.hpp"

namespace ipcq::compiler {
namespace {

using program::Failure;
using program::FileDescriptor;

constexpr int kNotStarted = 127;  // as a shell says it

// What ends a guard, and the end of a child.
sigset_t signals_of_guard() noexcept {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) ::sigaddset(&set, number);
  return set;
}

// In the child: becomes the program, or says why not to its error output.
[[noreturn]] void become(char* const* arguments, int input, int output) noexcept {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::dup2(input, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(arguments[0], arguments);
  ::dprintf(output, "%s", std::strerror(errno));
  ::_exit(kNotStarted);
}

// Until the child has ended. Where the guard is told to end first: kills the child's group, and throws.
int wait_for(pid_t child) {
  const sigset_t set = signals_of_guard();
  int status = 0;
  for (;;) {
    const int number = ::sigwaitinfo(&set, nullptr);
    if (number == SIGCHLD && ::waitpid(child, &status, WNOHANG) == child) return status;
    if (number < 0 || number == SIGCHLD) continue;
    ::kill(-child, SIGKILL);
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    throw Failure(program::kFailure, "stopped");
  }
}

// The guard's whole life.
[[noreturn]] void live_as_guard(pid_t parent, const std::function<int()>& body) noexcept {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  ::signal(SIGXFSZ, SIG_IGN);  // beyond a limit of file sizes a write fails, of this process and of the compiler
  ::_exit(::getppid() == parent ? body() : program::kFailure);
}

}  // namespace

Guard::Guard() {
  const std::string given = environment("TMPDIR");
  const std::string place = given.empty() ? "/tmp" : given;
  folder_ = place + "/ipcq-compiler.XXXXXX";
  if (::mkdtemp(folder_.data()) == nullptr) {
    throw Failure(program::kFailure, fmt::format("cannot make a folder in '{}': {}; set TMPDIR to one with room", place,
                                                 std::strerror(errno)));
  }
  ::setenv("TMPDIR", folder_.c_str(), 1);
}

Guard::~Guard() {
  // What was killed may end a write only now.
  for (int i = 0; i < 100; ++i) {
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
    if (!error) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

int Guard::run(const std::string& program, std::vector<std::string> arguments, const std::string& input,
               int output) const {
  const FileDescriptor text(::open(input.c_str(), O_RDONLY | O_CLOEXEC));
  if (!text.valid()) throw Failure(program::kFailure, fmt::format("cannot read '{}': {}", input, std::strerror(errno)));
  std::string first = program;
  std::vector<char*> all{first.data()};
  for (auto& a : arguments) all.push_back(a.data());
  all.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw Failure(program::kFailure, fmt::format("cannot start '{}': {}", program, std::strerror(errno)));
  if (child == 0) become(all.data(), text.get(), output);
  ::setpgid(child, child);  // whichever of both comes first
  const int status = wait_for(child);
  if (WIFSIGNALED(status)) {
    throw Failure(program::kFailure,
                  fmt::format("'{}' was ended by signal {}: is there memory enough?", program, WTERMSIG(status)));
  }
  if (WEXITSTATUS(status) == kNotStarted) {
    const std::string why = read_descriptor(output).value_or("");
    write_descriptor(output, "");
    throw Failure(program::kBackend, fmt::format("cannot start '{}': {}", program, why));
  }
  return WEXITSTATUS(status);
}

std::optional<std::string> run_guarded_step(const std::function<void(const Guard&)>& step) {
  const FileDescriptor said(::memfd_create("ipcq-compiler-error", MFD_CLOEXEC));
  if (!said.valid()) throw Failure(program::kBackend, fmt::format("memfd_create: {}", std::strerror(errno)));
  ::signal(SIGCHLD, SIG_DFL);  // ignored, it would take the exit codes along
  const sigset_t set = signals_of_guard();
  sigset_t before;
  ::sigprocmask(SIG_BLOCK, &set, &before);
  const pid_t parent = ::getpid();
  const pid_t guard = ::fork();
  if (guard == 0) {
    live_as_guard(parent, [&]() -> int {
      try {
        const Guard own;
        step(own);
        return program::kOk;
      } catch (const std::exception& error) {
        write_descriptor(said.get(), error.what());
        return program::kFailure;
      }
    });
  }
  const int error = errno;
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (guard < 0) throw Failure(program::kBackend, fmt::format("cannot start a process: {}", std::strerror(error)));
  int status = 0;
  while (::waitpid(guard, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    return fmt::format("its process that runs the compiler was ended by signal {}: is there memory enough?",
                       WTERMSIG(status));
  }
  if (WEXITSTATUS(status) == program::kOk) return {};
  return read_descriptor(said.get()).value_or("");
}

}  // namespace ipcq::compiler
