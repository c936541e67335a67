// Prints text and JSON to standard output or error. A failed write is an error of the program. For one thread at a
// time, because a stop request interrupts one thread (Signals::Interruptible).
#pragma once

#include <unistd.h>

#include <string_view>

#include "program/json.hpp"

namespace ipcq::program {

// Writes all of `text` before it returns. False when the reader of a pipe has closed it, which is no failure: the
// caller stops printing. Throws Failure on any other error, and when no one has read for a second after a stop request.
bool print(std::string_view text, int fd = STDOUT_FILENO);

// Prints one object or array on a line of its own. As print().
bool print_json(const Json& object, int fd = STDOUT_FILENO);

// Called at the end of a program. Reports errors of standard output that only closing shows (a quota, a network file
// system), and those of stdio. Throws as print().
void finish_standard_output();

}  // namespace ipcq::program
