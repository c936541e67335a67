// The body of a program, run so that every error becomes a message and an exit code. For main() alone: once a process.
#pragma once

#include <functional>

namespace ipcq::program {

// Runs the body of a program, and turns an exception into a message on stderr and an exit code. A failure to write all
// of standard output is such an error too.
int run_guarded(const std::function<int()>& body) noexcept;

}  // namespace ipcq::program
