#include "child_program.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

#include <fmt/format.h>

#include "program/exit_code.hpp"
#include "program/file_descriptor.hpp"

namespace ipcq::program {
namespace {

bool is_program(const std::filesystem::path& path) { return ::access(path.c_str(), X_OK) == 0; }

// Reads until the other end is closed. False when that takes longer than `patience`.
bool read_all(int fd, std::string& into, std::chrono::seconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::array<char, 4096> chunk;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd entry{fd, POLLIN, 0};
    if (left <= 0 || ::poll(&entry, 1, static_cast<int>(left)) == 0) return false;
    const ssize_t count = ::read(fd, chunk.data(), chunk.size());
    if (count == 0) return true;
    if (count > 0) into.append(chunk.data(), static_cast<std::size_t>(count));
    if (count < 0 && errno != EINTR && errno != EAGAIN) return true;
  }
}

}  // namespace

std::string find_program(const std::string& name, const char* variable) {
  if (const char* given = std::getenv(variable); given != nullptr && *given != '\0') return given;
  std::error_code ignored;
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / name;
  if (is_program(beside)) return beside;
  const char* const path = std::getenv("PATH");
  std::istringstream directories(path != nullptr ? path : "");
  for (std::string directory; std::getline(directories, directory, ':');) {
    const auto candidate = std::filesystem::path(directory) / name;
    if (!directory.empty() && is_program(candidate)) return candidate;
  }
  return {};
}

ChildOutput run_child(const std::string& program, std::vector<std::string> arguments, std::chrono::seconds patience,
                      const std::string& hint) {
  const auto fail = [&](const std::string& why) {
    throw Failure(kFailure, fmt::format("'{} {}': {}", program, fmt::join(arguments, " "), why));
  };
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail(std::strerror(errno));
  const FileDescriptor reading(ends[0]);
  FileDescriptor writing(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
  // Signals blocks what ends a program, which a child would inherit.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none, usual;
  ::sigemptyset(&none);
  ::sigemptyset(&usual);
  ::sigaddset(&usual, SIGPIPE);
  ::sigaddset(&usual, SIGXFSZ);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &usual);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string first = program;
  std::vector<char*> argv{first.data()};
  for (auto& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, &attributes, argv.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) fail(fmt::format("cannot start it: {}", std::strerror(error)));
  writing = FileDescriptor();

  ChildOutput out;
  const bool complete = read_all(reading.get(), out.text, patience);
  if (!complete) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!complete) fail(fmt::format("no answer within {} s: {}", patience.count(), hint));
  // Ctrl-C is for both, and the child's end may be seen before this process gets its own.
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) ::raise(SIGINT);
  if (WIFSIGNALED(status)) fail(fmt::format("killed by signal {}", WTERMSIG(status)));
  out.exit_code = WEXITSTATUS(status);
  return out;
}

}  // namespace ipcq::program
