// Threads of the library: started with all signals blocked, so that signals stay the program's own, and told apart when
// the system has none to give.
#pragma once

#include <signal.h>

#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "ipcq/export.hpp"

namespace ipcq::detail {

// Blocks all signals in this thread while it lives, so that threads started meanwhile leave signals to the program's
// own.
class IPCQ_INTERNAL_API AllSignalsBlocked {
 public:
  AllSignalsBlocked() noexcept;
  ~AllSignalsBlocked();
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

 private:
  sigset_t old_;
};

// Throws SystemError (PermissionError) for a pthread_create that failed with `code`. `object`: what the thread is for.
[[noreturn]] IPCQ_INTERNAL_API void throw_no_thread(int code, const std::string& object);

// Starts it, unless it runs already. Throws SystemError, naming `object`, when the system has no thread to give.
template <class Run>
void require_thread(std::thread& thread, const std::string& object, Run run) {
  if (thread.joinable()) return;
  const AllSignalsBlocked blocked;
  try {
    thread = std::thread(std::move(run));
  } catch (const std::system_error& e) {
    throw_no_thread(e.code().value(), object);
  }
}

// Likewise where the caller goes on without it. False: there is none.
template <class Run>
bool start_thread(std::thread& thread, Run run) noexcept {
  if (thread.joinable()) return true;
  try {
    const AllSignalsBlocked blocked;
    thread = std::thread(std::move(run));
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

// A thread of the parent's, in a forked child: neither joined nor detached, because a new thread of the child's may
// bear its id.
IPCQ_INTERNAL_API void forget_thread(std::thread& thread) noexcept;

}  // namespace ipcq::detail
