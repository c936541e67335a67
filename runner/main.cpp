// ipcq-runner: owns one GPU for the broker that starts it. Users run it only as `ipcq-runner --probe`.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/thread.hpp"
#include "control/control.hpp"
#include "control/runner_wire.hpp"
#include "ipcq/version.hpp"
#include "layout/text_field.hpp"
#include "probe.hpp"
#include "program/inherited_descriptors.hpp"
#include "runner.hpp"

namespace {

using namespace ipcq;
using namespace ipcq::detail;

constexpr unsigned kEndPatience = 5;  // seconds for a request and the kernels to end

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
// the driver or behind a kernel, and would not see it.
void end_with_broker(int socket, int broker) {
  std::thread thread;
  require_thread(thread, "ipcq-runner: its watch of the broker", [socket, broker] {
    pollfd p[2] = {{socket, POLLRDHUP, 0}, {broker, POLLIN, 0}};  // poll() ignores a negative one
    while (::poll(p, 2, -1) < 0 && errno == EINTR) {
    }
    ::alarm(kEndPatience);
  });
  thread.detach();
}

int serve(int device) {
  // A signal to the whole process group or service is for the broker to act on; the runner ends with the broker.
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGTERM, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // beyond a limit of file sizes the call fails instead
  const Fd socket(kRunnerSocket);
  const Fd broker = open_pidfd(getppid());
  RunnerHello hello;
  std::unique_ptr<runner::Runner> served;
  try {
    end_with_broker(socket.get(), broker.get());
    served = std::make_unique<runner::Runner>(device);
    hello.mps = runner::runs_under_mps() ? 1 : 0;
    set_text(hello.device_name, sizeof hello.device_name, served->gpu().name());
  } catch (const std::exception& e) {
    const bool not_yet = dynamic_cast<const NotYet*>(&e) != nullptr;
    hello.start = not_yet ? RunnerStart::not_yet : RunnerStart::failed;
    set_text(hello.text, sizeof hello.text, e.what());
  }
  if (!send_message(socket.get(), &hello, sizeof hello) || hello.start != RunnerStart::up) return 1;
  RunnerRequest request;
  Fd unused;
  while (await_request(socket.get(), broker.get()) &&
         receive_message(socket.get(), &request, sizeof request, unused) > 0) {
    if (request.magic != kRunnerMagic || request.abi != kAbiVersion) break;
    const RunnerReply reply = served->answer(request);
    if (!send_message(socket.get(), &reply, sizeof reply)) break;
  }
  ::alarm(kEndPatience);  // a kernel that does not end must not keep the device
  served.reset();
  return 0;
}

int usage(std::FILE* to) {
  std::fputs(
      "usage: ipcq-runner --probe     what this machine's GPUs can do, as one JSON object\n"
      "       ipcq-runner --version\n"
      "ipcq-broker starts it with --device N for each GPU that its queues use.\n",
      to);
  return to == stdout ? 0 : 2;
}

int run(int argc, char** argv) {
  // Before the driver starts. By default it loads a kernel at its first launch, and waits there for kernels that stay.
  ::setenv("CUDA_MODULE_LOADING", "EAGER", 1);
  // Hardware queues: the driver's default is 8, under MPS 2. Queues of the runner that share one take turns. With 2 and
  // three busy queues 41 of 250 launches stood still, with 8 none; each takes 20 to 30 ms of the start (H200, CUDA
  // 13.0; docs/benchmarks/h200.md, "Several queues").
  ::setenv("CUDA_DEVICE_MAX_CONNECTIONS", "8", 0);
  if (argc == 2 && std::strcmp(argv[1], "--help") == 0) return usage(stdout);
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) {
    std::printf("ipcq-runner %s, ABI %u, CUDA toolkit %d.%d\n", IPCQ_VERSION, kAbiVersion, CUDA_VERSION / 1000,
                CUDA_VERSION % 1000 / 10);
    return 0;
  }
  if (argc == 2 && std::strcmp(argv[1], "--probe") == 0) return runner::probe();
  if (argc == 4 && std::strcmp(argv[1], "--probe-peer") == 0) return runner::probe_peer(argv[2], argv[3]);
  if (argc == 3 && std::strcmp(argv[1], "--device") == 0) return serve(std::atoi(argv[2]));
  return usage(stderr);
}

}  // namespace

int main(int argc, char** argv) {
  ipcq::program::open_standard_descriptors();
  const int code = run(argc, argv);
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  std::fprintf(stderr, "ipcq-runner: cannot write to standard output: %s\n", std::strerror(errno));
  return code != 0 ? code : 1;
}
