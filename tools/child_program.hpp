// Runs a program of this release as a child, and takes what it prints.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace ipcq::program {

// The path of a program: the value of `variable` in the environment, beside this program, or in PATH; empty if there is
// none.
std::string find_program(const std::string& name, const char* variable);

struct ChildOutput {
  int exit_code = 0;
  std::string text;  // its standard output; standard error is this process' own
};
// Runs it to its end. Throws Failure, which names the command, when it does not start, does not end in that time (it is
// killed then), or ends by a signal. `hint`: what the user can do when it does not end.
ChildOutput run_child(const std::string& program, std::vector<std::string> arguments, std::chrono::seconds patience,
                      const std::string& hint);

}  // namespace ipcq::program
