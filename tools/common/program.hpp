// What main() of a program does around its work: standard descriptors, log, signals, command line, and exceptions as
// exit codes.
#pragma once

#include <string>

#include "common/command_line.hpp"
#include "common/exit_code.hpp"
#include "common/inherited_descriptors.hpp"
#include "common/logging.hpp"
#include "common/signals.hpp"

namespace ipcq::program {

// describe() adds the program's own options; run() works and returns the exit code.
template <class Options>
int run_program(const std::string& name, const char* purpose, int argc, char** argv,
                void (*describe)(CommandLine& line, Options& options), int (*run)(Options& options, Signals& signals)) {
  open_standard_descriptors();
  set_up_logging(name);
  return run_guarded([&] {
    Signals signals;  // first: before any other thread
    CommandLine line(purpose);
    Options options;
    describe(line, options);
    line.add_common_options(name);
    if (const auto code = line.parse(argc, argv)) return *code;
    return run(options, signals);
  });
}

}  // namespace ipcq::program
