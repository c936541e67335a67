// ipcq doctor: checks whether this machine has what libipcq needs, and says what to do if not. For one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "program/finding.hpp"

namespace ipcq::program {

std::vector<Finding> examine();

// Prints the findings. `redis`: also of this server, or of the one that IPCQ_REDIS_URL names if it is empty. The exit
// code is 1 if one of them is a failure, else 0.
int doctor_command(const std::optional<std::string>& redis, bool json);

}  // namespace ipcq::program
