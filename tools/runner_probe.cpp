#include "runner_probe.hpp"

#include <chrono>

#include <fmt/format.h>

#include "child_program.hpp"
#include "program/exit_code.hpp"

namespace ipcq::program {

std::string find_runner() { return find_program("ipcq-runner", "IPCQ_RUNNER"); }

std::string probe_by(const std::string& runner) {
  // On a machine with many GPUs the first context on each takes a second.
  constexpr std::chrono::seconds kPatience{60};
  const ChildOutput answer = run_child(runner, {"--probe"}, kPatience, "the driver hangs; see dmesg");
  if (answer.text.empty()) {
    throw Failure(kFailure, fmt::format("'{} --probe': exit code {} and no answer", runner, answer.exit_code));
  }
  return answer.text;
}

}  // namespace ipcq::program
