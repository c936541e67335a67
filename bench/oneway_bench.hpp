// What the cases of oneway_bench share: payloads of equal words that carry their number, and the clock.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "common/clock.hpp"
#include "common/peer.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq::bench {

inline void fill(std::uint64_t* words, std::size_t bytes, std::uint64_t number) {
  std::fill_n(words, bytes / 8, number);
}

inline void check(const std::uint64_t* words, std::size_t bytes, std::uint64_t number) {
  std::uint64_t wrong = 0;
  for (std::size_t i = 0; i < bytes / 8; ++i) wrong |= words[i] ^ number;
  if (wrong != 0) fail("message " + std::to_string(number) + " has wrong bytes");
}
inline void check(std::span<const std::byte> bytes, std::size_t expected, std::uint64_t number) {
  if (bytes.size() != expected) fail("message " + std::to_string(number) + " has a wrong length");
  check(reinterpret_cast<const std::uint64_t*>(bytes.data()), expected, number);
}

// Starts at the first receipt.
class Stopwatch {
 public:
  void received(std::uint64_t number) {
    if (number == 0) start_ = Clock::now();
  }
  double rate(std::size_t messages) const { return static_cast<double>(messages) / seconds_since(start_); }

 private:
  Clock::time_point start_;
};

// oneway_bench_records.cpp
inline constexpr std::size_t kRecordBytes = 48;
double record_rate(Wait wait);

// oneway_bench_many.cpp
template <unsigned Producers, unsigned Consumers, std::size_t Batch>
double many_rate(Wait wait);
double bare_many_4x4(Wait wait);

}  // namespace ipcq::bench
