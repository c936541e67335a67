#include "handler.hpp"

#include <chrono>

#include <fmt/format.h>

#include "child_program.hpp"
#include "program/exit_code.hpp"
#include "program/gpu_findings.hpp"
#include "program/print.hpp"
#include "runner_probe.hpp"

namespace ipcq::program {
namespace {

std::string architecture_here() {
  constexpr const char* kUsual = "sm_90";
  const std::string runner = find_runner();
  const std::string first = runner.empty() ? "" : first_architecture(probe_by(runner));
  return first.empty() ? kUsual : first;
}

}  // namespace

std::string find_compiler() { return find_program("ipcq-compiler", "IPCQ_COMPILER"); }

int handler_check_command(const HandlerCheck& check) {
  const std::string compiler = find_compiler();
  if (compiler.empty()) {
    throw Failure(kBackend,
                  "ipcq-compiler, which compiles handlers, is neither beside this program nor in PATH; install it with "
                  "ipcq's other programs, or set IPCQ_COMPILER to it");
  }
  std::vector<std::string> arguments;
  if (check.backend == "host") {
    if (!check.architecture.empty()) {
      throw Failure(kUsage, "--arch is of GPUs; leave it out, or --backend host");
    }
    arguments = {"--host"};
  } else {
    arguments = {"--arch", check.architecture.empty() ? architecture_here() : check.architecture};
  }
  for (const auto& d : check.definitions) arguments.insert(arguments.end(), {"-D", d});
  for (const auto& i : check.include_dirs) arguments.insert(arguments.end(), {"-I", i});
  if (check.json) arguments.emplace_back("--json");
  arguments.insert(arguments.end(), {"--", check.file});
  constexpr std::chrono::minutes kPatience{10};  // a second is usual; templates can take any time
  const ChildOutput made = run_child(compiler, arguments, kPatience, "is there a template without an end in the file?");
  print(made.text);
  return made.exit_code;
}

}  // namespace ipcq::program
