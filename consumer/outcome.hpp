// Outcome: what a consumer's run came to, as an exit code, as words and as JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "run.hpp"

namespace ipcq::program {

struct Outcome {
  std::string queue, group, broker, backend, executor, wait;
  std::optional<int> gpu;  // that it worked on
  bool follow = false;
  Ending ending = Ending::end;
  std::uint64_t missing = 0;   // 0 unless verified
  std::uint64_t repeated = 0;  // 0 unless verified
};

int exit_code(const Outcome& outcome, const Tally& tally);

// Says on stderr why the run ended and what it received; also as JSON, on descriptor `json`.
void report(const Outcome& outcome, const Tally& tally, bool verified, std::optional<int> json);

}  // namespace ipcq::program
