// What `ipcq-runner --probe` found out about this machine's GPUs, as findings.
#pragma once

#include <string_view>
#include <vector>

#include "common/finding.hpp"

namespace ipcq::program {

// `probe`: the JSON object that it prints. Says so when that makes no sense.
std::vector<Finding> gpu_findings(std::string_view probe);

}  // namespace ipcq::program
