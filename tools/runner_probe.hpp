// Runs `ipcq-runner --probe`, which examines the GPUs in a process of its own, since `ipcq` itself never loads CUDA.
#pragma once

#include <string>

namespace ipcq::program {

// The path of ipcq-runner: $IPCQ_RUNNER, beside this program, or in PATH; empty if there is none.
std::string find_runner();

// The text that it prints. Throws Failure when it does not start, or does not end within a minute.
std::string probe_by(const std::string& runner);

}  // namespace ipcq::program
