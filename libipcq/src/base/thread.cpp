#include "base/thread.hpp"

#include <memory>

#include "base/fork.hpp"
#include "base/system_error.hpp"

namespace ipcq::detail {

AllSignalsBlocked::AllSignalsBlocked() noexcept {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old_);
}

AllSignalsBlocked::~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &old_, nullptr); }

void throw_no_thread(int code, const std::string& object) { throw_system(code, "pthread_create", object); }

void forget_thread(std::thread& thread) noexcept {
  if (thread.joinable()) keep_for_ever(std::make_shared<std::thread>(std::move(thread)));
}

}  // namespace ipcq::detail
