// ipcq doctor: whether this machine has what libipcq needs, and what to do where it has not.
#pragma once

#include <vector>

#include "common/finding.hpp"

namespace ipcq::program {

std::vector<Finding> examine();

// Prints the findings; exit code 1 when one of them is a failure.
int doctor_command(bool json);

}  // namespace ipcq::program
