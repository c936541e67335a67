// Receiver: takes messages until the stream, the count, the patience or the reader of the output ends; verifies, writes
// and measures on the way.
#pragma once

#include <chrono>
#include <cstdint>
#include <ipcq/consumer.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "common/latency_histogram.hpp"
#include "common/pattern.hpp"
#include "common/progress.hpp"
#include "common/sequence_check.hpp"
#include "output.hpp"

namespace ipcq::program {

class Receiver {
 public:
  struct Limits {
    std::uint64_t count = 0;       // messages; 0: no limit
    std::size_t batch = 1;         // messages taken together
    Duration patience = kForever;  // longest wait for one message
  };
  enum class Ending : std::uint8_t { end, count, reader_gone, interrupted, timeout, closed, broker_died };

  // pattern and output: null when not asked for.
  Receiver(Consumer& consumer, Limits limits, SequenceCheck& sequences, Pattern4k* pattern, Output* output,
           Progress& progress);

  Ending run();

  std::uint64_t messages() const noexcept { return messages_; }
  std::uint64_t bytes() const noexcept { return bytes_; }
  std::uint64_t bad_bytes() const noexcept { return bad_bytes_; }
  // From the first message to the last.
  double seconds() const noexcept { return std::chrono::duration<double>(last_ - first_).count(); }
  const LatencyHistogram& latencies() const noexcept { return latencies_; }

 private:
  bool take(std::span<Message> batch);
  std::optional<Ending> ending_of(Status status);

  Consumer& consumer_;
  Limits limits_;
  SequenceCheck& sequences_;
  Pattern4k* pattern_;
  Output* output_;
  Progress& progress_;
  LatencyHistogram latencies_;
  std::chrono::steady_clock::time_point first_{}, last_{};
  std::chrono::nanoseconds waited_{0};
  std::uint64_t messages_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t bad_bytes_ = 0;
};

std::string_view to_string(Receiver::Ending ending) noexcept;

}  // namespace ipcq::program
