// Publisher: one producer with the limits of a command line (count, rate, stop signal) and its counters.
#pragma once

#include <chrono>
#include <cstdint>
#include <ipcq/producer.hpp>
#include <span>
#include <string>

#include "common/progress.hpp"
#include "common/rate_limiter.hpp"
#include "common/signals.hpp"

namespace ipcq::program {

class Publisher {
 public:
  struct Limits {
    std::uint64_t count = 0;  // messages; 0: no limit
    double rate = 0;          // messages per second; 0: no limit
    std::size_t batch = 0;    // messages per send_many; 0: 256, or 1 with a rate
  };
  // `queue` names it in messages.
  Publisher(Producer producer, std::string queue, Limits limits, const Signals& signals);

  // Whether another message is wanted: neither the count is reached, nor a stop requested, nor the queue gone.
  bool wants_more() const noexcept { return status_ == Status::ok && room() > 0 && !signals_.stop_requested(); }
  // Messages left to the count.
  std::uint64_t room() const noexcept { return limits_.count == 0 ? UINT64_MAX : limits_.count - messages_; }
  std::size_t batch() const noexcept { return limits_.batch; }
  std::size_t max_bytes() const noexcept { return producer_.max_bytes(); }
  const std::string& queue() const noexcept { return queue_; }

  // Sends all of the batch, however long a queue that rejects stays full: its source could not repeat it. False when
  // the sending has come to an end before.
  bool send(std::span<const std::span<const std::byte>> batch);

  // The next message's slot, at its time. For a source that can do without a message: when the queue rejects, that is
  // counted and another loan tried. An empty Loan when the sending has come to an end.
  Loan loan();
  // For sources that cannot: tries again.
  Loan loan_patiently();
  bool publish(Loan& loan, std::size_t length);

  // Sequence number of the next message.
  std::uint64_t messages() const noexcept { return messages_; }
  std::uint64_t bytes() const noexcept { return bytes_; }
  std::uint64_t rejected() const noexcept { return rejected_; }
  double seconds() const;
  // ok, or what ended the sending.
  Status status() const noexcept { return status_; }
  void close() noexcept;

 private:
  Loan next_loan(bool patient);
  void count(std::uint64_t messages, std::uint64_t bytes);
  void pause();

  Producer producer_;
  std::string queue_;
  Limits limits_;
  const Signals& signals_;
  RateLimiter limiter_;
  Progress progress_;
  std::chrono::steady_clock::time_point start_;
  std::uint64_t messages_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t rejected_ = 0;
  Status status_ = Status::ok;
};

}  // namespace ipcq::program
