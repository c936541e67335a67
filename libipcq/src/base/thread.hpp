// How the library starts threads: with all signals blocked, so that the program's own threads take its signals; and
// with an error that says so when the system refuses a thread.
//
// The start functions are for the thread that owns the std::thread object, or for one that holds the lock that guards
// it.
#pragma once

#include <signal.h>

#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "ipcq/export.hpp"

namespace ipcq::detail {

// Blocks all signals in the calling thread while this object lives. Threads started meanwhile inherit the mask.
class IPCQ_INTERNAL_API AllSignalsBlocked {
 public:
  AllSignalsBlocked() noexcept;
  ~AllSignalsBlocked();
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

 private:
  sigset_t old_;
};

// Throws for a pthread_create that failed with `code`: PermissionError for EPERM, else SystemError. `object`: what the
// thread is for.
[[noreturn]] IPCQ_INTERNAL_API void throw_no_thread(int code, const std::string& object);

// Starts `thread`, unless it runs already. Throws as throw_no_thread() when the system refuses a thread.
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

// The same for a caller that can go on without the thread. False: the system refuses one.
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

// For a forked child's copy of a thread of the parent: keeps the object for ever (fork.hpp). To join or detach it could
// hit a thread of the child that has the same id.
IPCQ_INTERNAL_API void forget_thread(std::thread& thread) noexcept;

}  // namespace ipcq::detail
