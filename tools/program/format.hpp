// Formats numbers for people. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

namespace ipcq::program {

// "24883200 B" becomes "23.7 MiB"; below 10 KiB exact bytes.
std::string human_bytes(std::uint64_t bytes);
// "1m02s", "3.2 s".
std::string human_seconds(double seconds);
// Per second: "310", "1.25 M".
std::string human_rate(double per_second);

}  // namespace ipcq::program
