// ipcq doctor: checks whether this machine has what libipcq needs, and says what to do if not. For one thread.
#pragma once

#include <vector>

#include "program/finding.hpp"

namespace ipcq::program {

std::vector<Finding> examine();

// Prints the findings. The exit code is 1 if one of them is a failure, else 0.
int doctor_command(bool json);

}  // namespace ipcq::program
