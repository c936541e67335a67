// Publisher: one producer with the limits of a command line (count, rate, stop signal) and its counters.
#pragma once

#include <chrono>
#include <cstdint>
#include <ipcq/producer.hpp>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

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
  std::size_t slot_bytes() const noexcept { return producer_.slot_bytes(); }
  const std::string& queue() const noexcept { return queue_; }

  // Sends all of the batch, however long a queue that rejects stays full: its source could not repeat it. False when
  // the sending has come to an end before.
  bool send(std::span<const std::span<const std::byte>> batch);

  // The next message's slot, at its time. For a source that can do without a message: when the queue rejects, that is
  // counted and another loan tried. An empty Loan when the sending has come to an end.
  Loan loan();
  // For sources that cannot: tries again.
  Loan loan_patiently();
  // As loan(), by take(producer), which gives a Result<> of some kind of loan.
  template <class Take>
  auto loan_by(const Take& take) {
    return next_loan(false, take);
  }
  template <class AnyLoan>
  bool publish(AnyLoan& loan, std::size_t length) {
    for (;;) {
      const Status status = loan.publish(length);
      if (status == Status::ok) {
        count(1, length);
        return true;
      }
      if (!goes_on_after(status)) return false;
      pause();
      if (signals_.stop_requested()) return false;
    }
  }

  // Sequence number of the next message.
  std::uint64_t messages() const noexcept { return messages_; }
  std::uint64_t bytes() const noexcept { return bytes_; }
  std::uint64_t rejected() const noexcept { return rejected_; }
  double seconds() const;
  // ok, or what ended the sending.
  Status status() const noexcept { return status_; }
  // `failed`: consumers must not take what was sent for the whole.
  void close(bool failed) noexcept;

 private:
  template <class Take>
  auto next_loan(bool patient, const Take& take) {
    using AnyLoan = std::remove_cvref_t<decltype(*take(producer_))>;
    for (bool due = false; wants_more();) {
      if (!due && !limiter_.acquire(1)) break;
      auto loan = take(producer_);
      if (loan) return AnyLoan(std::move(*loan));
      if (!goes_on_after(loan.status())) break;
      due = patient;
      if (patient || !limiter_.limited()) pause();
    }
    return AnyLoan{};
  }
  // Counts a rejection; false when the sending has come to an end.
  bool goes_on_after(Status status);
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
