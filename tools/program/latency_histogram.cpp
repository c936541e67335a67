#include "program/latency_histogram.hpp"

#include <bit>
#include <cmath>

namespace ipcq::program {

unsigned LatencyHistogram::index(std::uint64_t value) noexcept {
  if (value < kSub) return static_cast<unsigned>(value);
  const auto shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kSubBits;
  return (shift + 1) * static_cast<unsigned>(kSub) + static_cast<unsigned>((value >> shift) - kSub);
}

double LatencyHistogram::quantile_ns(double quantile) const noexcept {
  if (count_ == 0) return 0;
  const double rank = std::ceil(quantile * static_cast<double>(count_));
  std::uint64_t seen = 0;
  for (unsigned i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (buckets_[i] == 0 || static_cast<double>(seen) < rank) continue;
    if (i < kSub) return i;
    const unsigned shift = i / static_cast<unsigned>(kSub) - 1;
    const double low = std::ldexp(static_cast<double>(kSub + i % kSub), static_cast<int>(shift));
    return low + std::ldexp(0.5, static_cast<int>(shift));
  }
  return 0;
}

}  // namespace ipcq::program
