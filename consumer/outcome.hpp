// Outcome: the result of a consumer's run, as an exit code, as text and as JSON. For one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "run.hpp"

namespace ipcq::program {

struct Outcome {
  std::string queue, group, broker, backend, executor, wait;
  std::optional<int> gpu;  // the GPU that it used
  bool follow = false;
  Ending ending = Ending::end;
  std::uint64_t missing = 0;   // 0 unless verified
  std::uint64_t repeated = 0;  // 0 unless verified
};

int exit_code(const Outcome& outcome, const Tally& tally);

// Logs why the run ended and what it received; with `json` also prints it as JSON, to that descriptor.
void report(const Outcome& outcome, const Tally& tally, bool verified, std::optional<int> json);

}  // namespace ipcq::program
