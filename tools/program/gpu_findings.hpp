// Turns the output of `ipcq-runner --probe` into findings about this machine's GPUs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "program/finding.hpp"

namespace ipcq::program {

// `probe`: the JSON object that the runner prints. If it cannot be read, one finding says so.
std::vector<Finding> gpu_findings(std::string_view probe);

// The architecture of GPU 0, "sm_90" of compute capability 9.0. Empty: the probe names no GPU.
std::string first_architecture(std::string_view probe);

}  // namespace ipcq::program
