#include "runner_probe.hpp"

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

// On a machine with many GPUs the first context on each takes a second.
constexpr std::chrono::seconds kPatience{60};

bool is_program(const std::filesystem::path& path) { return ::access(path.c_str(), X_OK) == 0; }

[[noreturn]] void fail(const std::string& runner, const std::string& why) {
  throw Failure(kFailure, fmt::format("'{} --probe': {}", runner, why));
}

// Reads until the other end is closed. False when that takes longer than kPatience.
bool read_all(int fd, std::string& into) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
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

std::string find_runner() {
  if (const char* given = std::getenv("IPCQ_RUNNER"); given != nullptr && *given != '\0') return given;
  std::error_code ignored;
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / "ipcq-runner";
  if (is_program(beside)) return beside;
  const char* const path = std::getenv("PATH");
  std::istringstream directories(path != nullptr ? path : "");
  for (std::string directory; std::getline(directories, directory, ':');) {
    const auto candidate = std::filesystem::path(directory) / "ipcq-runner";
    if (!directory.empty() && is_program(candidate)) return candidate;
  }
  return {};
}

std::string probe_by(const std::string& runner) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail(runner, std::strerror(errno));
  const FileDescriptor reading(ends[0]);
  FileDescriptor writing(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
  std::string program = runner, option = "--probe";
  const std::array<char*, 3> arguments = {program.data(), option.data(), nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) fail(runner, fmt::format("cannot start it: {}", std::strerror(error)));
  writing = FileDescriptor();

  std::string answer;
  const bool complete = read_all(reading.get(), answer);
  if (!complete) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!complete) fail(runner, fmt::format("no answer within {} s: the driver hangs; see dmesg", kPatience.count()));
  if (WIFSIGNALED(status)) fail(runner, fmt::format("killed by signal {}", WTERMSIG(status)));
  if (answer.empty()) fail(runner, fmt::format("exit code {} and no answer", WEXITSTATUS(status)));
  return answer;
}

}  // namespace ipcq::program
