// What all command lines share: --version, --verbose, --quiet, parsing with the common exit codes.
#pragma once

#include <chrono>
#include <ipcq/wait.hpp>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

namespace ipcq::program {

// Adds --version, --verbose and --quiet.
void add_common_options(CLI::App& app, const std::string& program);

// Parses; an exit code when the program is to end now (0 after --help and --version, 2 on a usage error).
std::optional<int> parse_command_line(CLI::App& app, int argc, char** argv);

// Options that are numbers pass one of these, by transform(): CLI11 itself takes 010 for eight and wraps what is too
// large. Errors say what may stand there.
CLI::Validator whole_number(std::uint64_t low, std::uint64_t high = UINT64_MAX);
CLI::Validator positive();
CLI::Validator not_negative();

// Options that are texts pass one of these, by check(). An empty one is a variable of the shell that is not set, and to
// leave the option out means something else.
CLI::Validator not_empty();
// Of a queue or a group: as the library takes them. One that cannot be is no name of an object that is not there.
CLI::Validator object_name();

// "ipcq-broker 0.1.0 (ABI 1, backends: host, cuda)": those that this build has
std::string version_line(const std::string& program);

Duration to_duration(double seconds);

}  // namespace ipcq::program
