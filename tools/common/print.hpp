// Text and JSON on a standard stream, where a failure to write is an error of the program: what was not written was not
// said.
#pragma once

#include <unistd.h>

#include <string_view>

#include "common/json.hpp"

namespace ipcq::program {

// All of `text`, at once. False when the reader of a pipe has gone: no failure, but there is no use in saying more.
// Throws Failure on any other error, and when a stop is requested and nobody reads.
bool print(std::string_view text, int fd = STDOUT_FILENO);

// One object or array, on one line. As print().
bool print_json(const Json& object, int fd = STDOUT_FILENO);

// At the end of the program: errors that only the last close of a file shows (a quota, a network file system), and
// those of stdio. Throws as print().
void finish_standard_output();

}  // namespace ipcq::program
