// ipcq handler check: compiles a handler's source file as a broker would, without one.
#pragma once

#include <string>
#include <vector>

namespace ipcq::program {

struct HandlerCheck {
  std::string file;
  std::string backend = "cuda";  // or "host"
  std::string architecture;      // "sm_90"; empty: of the first GPU, or sm_90 where there is none
  std::vector<std::string> definitions, include_dirs;
  bool json = false;
};

// The path of ipcq-compiler: $IPCQ_COMPILER, beside this program, or in PATH; empty if there is none.
std::string find_compiler();

// Returns the exit code: of the compiler, whose messages go to standard error.
int handler_check_command(const HandlerCheck& check);

}  // namespace ipcq::program
