// LatencyHistogram: counts durations in buckets that are at most 1/64 of their value wide, so that percentiles of any
// number of samples take constant memory. For one thread at a time.
#pragma once

#include <array>
#include <cstdint>

namespace ipcq::program {

class LatencyHistogram {
 public:
  void record(std::uint64_t ns) noexcept {
    ++buckets_[index(ns)];
    ++count_;
  }
  std::uint64_t count() const noexcept { return count_; }
  // Middle of the bucket that holds the quantile in [0, 1], in ns; 0 without samples.
  double quantile_ns(double quantile) const noexcept;

 private:
  static constexpr unsigned kSubBits = 6;
  static constexpr std::uint64_t kSub = 1U << kSubBits;
  static unsigned index(std::uint64_t value) noexcept;

  std::array<std::uint64_t, (64 - kSubBits + 1) * kSub> buckets_{};
  std::uint64_t count_ = 0;
};

}  // namespace ipcq::program
