// The part of main() that all programs share: standard descriptors, log, signals, command line, and the exit code of an
// exception. Called once, by the main thread.
#pragma once

#include <string>

#include "program/command_line.hpp"
#include "program/inherited_descriptors.hpp"
#include "program/logging.hpp"
#include "program/run_guarded.hpp"
#include "program/signals.hpp"

namespace ipcq::program {

// describe() adds the program's own options to the command line; run() does the work and returns the exit code.
template <class Options>
int run_program(const std::string& name, const char* purpose, int argc, char** argv,
                void (*describe)(CommandLine& line, Options& options), int (*run)(Options& options, Signals& signals)) {
  open_standard_descriptors();
  set_up_logging(name);
  return run_guarded([&] {
    Signals signals;  // before any other thread starts, so that all inherit its mask
    CommandLine line(purpose);
    Options options;
    describe(line, options);
    line.add_common_options(name);
    if (const auto code = line.parse(argc, argv)) return *code;
    return run(options, signals);
  });
}

}  // namespace ipcq::program
