// Outcome: what a consumer's run came to, as an exit code, as words and as JSON.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "receiver.hpp"

namespace ipcq::program {

struct Outcome {
  std::string queue, group, broker, backend, wait;
  bool follow = false;
  Receiver::Ending ending = Receiver::Ending::end;
  std::uint64_t missing = 0;   // 0 unless verified
  std::uint64_t repeated = 0;  // 0 unless verified
};

int exit_code(const Outcome& outcome, const Receiver& receiver);

// Says on stderr why the run ended and what it received; as JSON on `json` unless that is null.
void report(const Outcome& outcome, const Receiver& receiver, bool verified, std::FILE* json);

}  // namespace ipcq::program
