// A forked child of a test. It ends when `body` returns, or is killed with this object.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace ipcq_test {

class Child {
 public:
  // The child ends itself after a minute. If `body` throws, the exit code is 99.
  explicit Child(const std::function<void()>& body) : pid_(::fork()) {
    EXPECT_GE(pid_, 0);
    if (pid_ != 0) return;
    ::alarm(60);
    try {
      body();
    } catch (...) {
      ::_exit(99);
    }
    ::_exit(0);
  }
  ~Child() {
    if (is_reaped_ || pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  // Waits for its end, and returns the status of waitpid().
  int reap() {
    int status = -1;
    is_reaped_ = ::waitpid(pid_, &status, 0) == pid_;
    return status;
  }
  // Waits for its end; -1 when a signal ended it.
  int exit_code() {
    const int status = reap();
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_;
  bool is_reaped_ = false;
};

}  // namespace ipcq_test
