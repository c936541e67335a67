#include "service.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <thread>
#include <utility>

#include "base/thread.hpp"
#include "control/control.hpp"
#include "layout/text_field.hpp"

namespace ipcq::runner {

using namespace detail;

namespace {

constexpr unsigned kEndPatience = 5;  // seconds for a request and the executors to end

// False when the broker has ended. The socket alone does not tell: a child of the broker's process may hold it open.
bool await_request(int socket, int broker) {
  pollfd p[2] = {{socket, POLLIN, 0}, {broker, POLLIN, 0}};
  int ready = -1;
  do {
    ready = ::poll(p, broker >= 0 ? 2 : 1, -1);
  } while (ready < 0 && errno == EINTR);
  return ready > 0 && p[1].revents == 0;
}

// Starts a thread that ends the process kEndPatience after the broker's end: the main thread may hang in a request, in
// the driver, behind a kernel or a handler, and would not see it.
void end_with_broker(int socket, int broker) {
  std::thread thread;
  require_thread(thread, "runner: its watch of the broker", [socket, broker] {
    pollfd p[2] = {{socket, POLLRDHUP, 0}, {broker, POLLIN, 0}};  // poll() ignores a negative one
    while (::poll(p, 2, -1) < 0 && errno == EINTR) {
    }
    ::alarm(kEndPatience);
  });
  thread.detach();
}

// Where that fails the reply has `failed` and the error's text.
RunnerReply answer_of(Service& service, const RunnerRequest& request, Fd attachment) noexcept {
  RunnerReply reply;
  try {
    return service.answer(request, std::move(attachment));
  } catch (const UsageError& e) {
    reply.failed = kUsageFailure;
    set_text(reply.text, sizeof reply.text, e.what());
  } catch (const std::exception& e) {
    reply.failed = kBackendFailure;
    set_text(reply.text, sizeof reply.text, e.what());
  }
  return reply;
}

}  // namespace

bool has_broker() noexcept {
  struct stat s {};
  return ::fstat(kRunnerSocket, &s) == 0 && S_ISSOCK(s.st_mode);
}

int serve(const std::function<std::unique_ptr<Service>(RunnerHello& hello)>& make) {
  // A signal to the whole process group or service is for the broker to act on; the runner ends with the broker.
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGTERM, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // beyond a limit of file sizes the call fails instead
  const Fd socket(kRunnerSocket);
  const Fd broker = open_pidfd(getppid());
  RunnerHello hello;
  std::unique_ptr<Service> service;
  try {
    end_with_broker(socket.get(), broker.get());
    service = make(hello);
  } catch (const std::exception& e) {
    const bool not_yet = dynamic_cast<const NotYet*>(&e) != nullptr;
    hello.start = not_yet ? RunnerStart::not_yet : RunnerStart::failed;
    set_text(hello.text, sizeof hello.text, e.what());
  }
  if (!send_message(socket.get(), &hello, sizeof hello) || hello.start != RunnerStart::up) return 1;
  RunnerRequest request;
  Fd attachment;
  while (await_request(socket.get(), broker.get()) &&
         receive_message(socket.get(), &request, sizeof request, attachment) > 0) {
    if (request.magic != kRunnerMagic || request.abi != kAbiVersion) break;
    const RunnerReply reply = answer_of(*service, request, std::move(attachment));
    if (!send_message(socket.get(), &reply, sizeof reply)) break;
    service->answered();
  }
  ::alarm(kEndPatience);  // what does not end must not keep the device
  service.reset();
  return 0;
}

}  // namespace ipcq::runner
