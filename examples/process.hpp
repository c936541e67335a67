// What the examples share: a process beside this one, statuses that become exceptions, arguments, and where handlers
// lie.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <ipcq/ipcq.hpp>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>

// For each wait: whoever waits longer has lost its peer.
inline constexpr std::chrono::seconds kPatience{60};

// Throws, because an exception that passes a producer breaks its stream off; `return` ends it as if all were well.
inline void check(ipcq::Status status, const std::string& what) {
  if (status != ipcq::Status::ok) throw std::runtime_error(what + ": " + std::string(ipcq::to_string(status)));
}

// The number that the argument `name` says.
inline std::size_t number_of(const std::string& name, const std::string& text) {
  std::size_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end) throw std::runtime_error(name + " is '" + text + "': give a whole number");
  return number;
}

// The handler that CMakeLists.txt has laid beside the programs.
inline std::string beside_program(const std::string& file) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / file;
}

// A child process that runs `body`. Make it before this process has threads, and so before its broker: the child has
// none but the one that forks.
class Process {
 public:
  template <class Body>
  explicit Process(Body body) : pid_(::fork()) {
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ > 0) return;
    try {
      body();
    } catch (const std::exception& error) {  // caught here, outside of the endpoints' scopes
      std::fprintf(stderr, "%s\n", error.what());
      std::_Exit(1);
    }
    std::_Exit(0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  // Waits for its end, and throws if it failed.
  void join() {
    int status = 0;
    if (::waitpid(pid_, &status, 0) == pid_) pid_ = 0;
    if (status != 0) throw_failed();
  }
  // Throws if it has failed; from any thread, until join() is called. It leaves the process for join() to reap.
  void check() const {
    siginfo_t end{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &end, WEXITED | WNOHANG | WNOWAIT) != 0 || end.si_pid != pid_) return;
    if (end.si_code != CLD_EXITED || end.si_status != 0) throw_failed();
  }

 private:
  [[noreturn]] static void throw_failed() { throw std::runtime_error("the producer's process failed"); }

  pid_t pid_;
};

// How long a consumer that gets nothing waits before it looks after its producer's process: of one that has failed it
// gets no end of the stream.
inline constexpr std::chrono::milliseconds kGlance{200};

// The next message, or the end of the stream. Throws if the producer's process fails, or after kPatience.
inline ipcq::Result<ipcq::Message> receive(ipcq::Consumer& in, const Process& producer) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    auto message = in.receive(kGlance);
    const ipcq::Status status = message.status();
    if (status == ipcq::Status::ok || status == ipcq::Status::end) return message;
    if (status != ipcq::Status::timeout || std::chrono::steady_clock::now() >= end) check(status, "receive");
    producer.check();
  }
}
