// Publisher: one producer, with the limits of a command line (count, rate, stop request) and its counters. For one
// thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <ipcq/producer.hpp>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "program/progress.hpp"
#include "program/rate_limiter.hpp"
#include "program/signals.hpp"

namespace ipcq::program {

class Publisher {
 public:
  struct Limits {
    std::uint64_t count = 0;  // messages; 0: no limit
    double rate = 0;          // messages per second; 0: no limit
    std::size_t batch = 0;    // messages per send_many; 0: 256, or 1 with a rate
  };
  // `queue`: the queue's name, for messages.
  Publisher(Producer producer, std::string queue, Limits limits, const Signals& signals);

  // Whether to publish another message: false once the count is reached, a stop is requested, or the queue is gone.
  bool wants_more() const noexcept { return status_ == Status::ok && room() > 0 && !signals_.stop_requested(); }
  // The number of messages that the count still allows.
  std::uint64_t room() const noexcept { return limits_.count == 0 ? UINT64_MAX : limits_.count - messages_; }
  std::size_t batch() const noexcept { return limits_.batch; }
  std::size_t max_bytes() const noexcept { return producer_.max_bytes(); }
  std::size_t slot_bytes() const noexcept { return producer_.slot_bytes(); }
  std::size_t inline_bytes() const noexcept { return producer_.inline_bytes(); }
  const std::string& queue() const noexcept { return queue_; }

  // Sends the whole batch, for a source that cannot repeat it: tries again while a queue that rejects is full. False
  // when the sending ends before that.
  bool send(std::span<const std::span<const std::byte>> batch);

  // Waits for the time of the next message, and lends a slot for it. For a source that can skip a message: a rejection
  // is counted, and costs the message's time. An empty Loan when the sending has ended.
  Loan loan();
  // For sources that cannot skip: tries again after a rejection, without waiting for a new time.
  Loan loan_patiently();
  // As loan(), by take(producer), which returns a Result<> of some kind of loan.
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
  // ok, or the status that ended the sending.
  Status status() const noexcept { return status_; }
  // `failed`: consumers must not take what was sent for a complete stream.
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
  // Counts a rejection. False when the sending has ended.
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
