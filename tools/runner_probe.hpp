// Runs `ipcq-runner --probe`, which looks at the GPUs in a process of its own: `ipcq` itself never loads CUDA.
#pragma once

#include <string>

namespace ipcq::program {

// $IPCQ_RUNNER, beside this program, in PATH; empty when it is nowhere.
std::string find_runner();

// What it prints. Throws Failure when it does not start or gives no answer within some seconds.
std::string probe_by(const std::string& runner);

}  // namespace ipcq::program
