// Programs of this release: found, and started as children of this process.
//
// Thread-safe.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace ipcq::detail {

// The path of a program: the value of `variable` in the environment, unchecked, else beside this program, beside this
// library, or in PATH; empty if there is none.
std::string find_program(const std::string& name, const char* variable);
bool is_program(const std::string& path);

inline constexpr int kChildDescriptor = 3;

// Starts a program in a process group of its own: Ctrl-C is for this process, which ends the child in order. Of this
// process' descriptors it gets `descriptor`, as kChildDescriptor, and the other two; its standard input is empty. No
// signal is blocked or ignored in it. Throws SystemError or PermissionError, of `object`, if the system starts no
// process.
pid_t spawn_program(const std::string& object, const std::string& program, std::vector<std::string> arguments,
                    int descriptor, int standard_output, int standard_error);

}  // namespace ipcq::detail
