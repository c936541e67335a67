// ipcq-runner: owns one GPU for the broker that starts it. Users run it only as `ipcq-runner --probe`.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "ipcq/version.hpp"
#include "layout/text_field.hpp"
#include "probe.hpp"
#include "program/inherited_descriptors.hpp"
#include "runner.hpp"
#include "service.hpp"

namespace {

using namespace ipcq;

int serve(int device) {
  return runner::serve([device](detail::RunnerHello& hello) {
    auto served = std::make_unique<runner::Runner>(device);
    hello.mps = runner::runs_under_mps() ? 1 : 0;
    hello.capability = served->gpu().capability();
    detail::set_text(hello.device_name, sizeof hello.device_name, served->gpu().name());
    return served;
  });
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
