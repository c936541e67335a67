#include "obituary.hpp"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "control/runner_wire.hpp"
#include "executor/works_on.hpp"

namespace ipcq::runner {

using namespace detail;

namespace {

constexpr int kFatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};

pid_t runner = 0;  // this process; a child that a handler has forked has its socket and its signal handlers too

// Then as if it had not been caught.
void on_fatal_signal(int number) noexcept {
  if (works_on_queue != nullptr && ::getpid() == runner) send_obituary(works_on_queue);
  ::signal(number, SIG_DFL);
  ::raise(number);
}

}  // namespace

void send_obituary(const char* queue_segment) noexcept {
  RunnerReply last;
  last.id = kObituary;
  std::strncpy(last.text, queue_segment, sizeof last.text - 1);
  (void)::send(kRunnerSocket, &last, sizeof last, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void send_obituaries_at_signals() noexcept {
  runner = ::getpid();
  struct sigaction action {};
  action.sa_handler = on_fatal_signal;
  ::sigemptyset(&action.sa_mask);
  for (const int number : kFatal) ::sigaction(number, &action, nullptr);
}

}  // namespace ipcq::runner
