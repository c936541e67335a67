// ipcq-host-runner: runs the users' own handlers on the host, for the broker that starts it.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "host_runner.hpp"
#include "ipcq/version.hpp"
#include "layout/text_field.hpp"
#include "program/inherited_descriptors.hpp"
#include "service.hpp"

namespace {

int usage(std::FILE* to) {
  std::fputs(
      "usage: ipcq-host-runner --version\n"
      "A broker starts it where a queue on the host has a handler of its user's own.\n",
      to);
  return to == stdout ? 0 : 2;
}

int run(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--help") == 0) return usage(stdout);
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) {
    std::printf("ipcq-host-runner %s, ABI %u\n", IPCQ_VERSION, ipcq::kAbiVersion);
    return 0;
  }
  if (argc != 1 || !ipcq::runner::has_broker()) return usage(stderr);
  return ipcq::runner::serve([](ipcq::detail::RunnerHello& hello) {
    ipcq::detail::set_text(hello.device_name, sizeof hello.device_name, "host");
    return std::make_unique<ipcq::runner::HostRunner>();
  });
}

}  // namespace

int main(int argc, char** argv) {
  ipcq::program::open_standard_descriptors();
  const int code = run(argc, argv);
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  std::fprintf(stderr, "ipcq-host-runner: cannot write to standard output: %s\n", std::strerror(errno));
  return code != 0 ? code : 1;
}
