// Messages of the programs: spdlog to stderr, coloured on a terminal unless NO_COLOR is set. They never block for
// longer than a moment (stderr_sink.hpp).
#pragma once

#include <ipcq/options.hpp>
#include <string>

namespace ipcq::program {

void set_up_logging(const std::string& program);
void set_verbose();
void set_quiet();

// The library's messages, through the same log.
LogCallback library_log();

}  // namespace ipcq::program
