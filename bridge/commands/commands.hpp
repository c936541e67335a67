// The commands of ipcq-redis beside its work as a bridge: `ipcq-redis add ...` and so on. Each is a program of its own,
// as its options have nothing to do with those of the others.
#pragma once

#include <string_view>

namespace ipcq::bridge {

// Runs the command of this name with the arguments behind it, and returns the exit code; -1: there is none of this
// name.
int run_command(std::string_view name, int argc, char** argv);

}  // namespace ipcq::bridge
