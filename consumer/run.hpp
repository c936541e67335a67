// A consumer's run, on CPU and GPU alike: its limits, how it ended, and what it counted and measured. For one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <ipcq/status.hpp>
#include <ipcq/wait.hpp>
#include <optional>
#include <string_view>

#include "program/latency_histogram.hpp"

namespace ipcq::program {

struct Limits {
  std::uint64_t count = 0;       // messages; 0: no limit
  std::size_t batch = 1;         // messages taken together
  Duration patience = kForever;  // longest wait for one message
};

// The longest wait for a message while there is a progress line to update.
inline constexpr Duration kProgressTick = std::chrono::milliseconds(500);

enum class Ending : std::uint8_t { end, count, reader_gone, interrupted, timeout, closed, broker_died, error };
std::string_view to_string(Ending ending) noexcept;
// How a status of receive ends the run; none for a status after which it goes on.
std::optional<Ending> ending_of(Status status) noexcept;

struct Tally {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t bad_bytes = 0;
  std::uint64_t returned = 0;  // given back to the group: not written, or the program was ended
  std::uint64_t lost = 0;      // not in `messages`: the producer died before its GPU had written the payload
  LatencyHistogram received;   // from publication to receipt; on a GPU the payload may be written later
  LatencyHistogram checked;    // from publication to the end of the check, of a sample of messages; GPU only
  std::chrono::steady_clock::time_point first{}, last{};

  // From the first message to the last; on a GPU, to the end of all checks.
  double seconds() const noexcept { return std::chrono::duration<double>(last - first).count(); }
};

// steady_clock is CLOCK_MONOTONIC, as Message::published_at_ns().
std::uint64_t since_epoch_ns(std::chrono::steady_clock::time_point time) noexcept;
// Records how long a message took. `published_at_ns` 0: an inline message, which carries no time; records nothing.
void record_latency(LatencyHistogram& into, std::uint64_t published_at_ns, std::uint64_t now_ns) noexcept;

}  // namespace ipcq::program
