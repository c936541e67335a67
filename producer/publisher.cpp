#include "publisher.hpp"

#include <algorithm>
#include <utility>

namespace ipcq::program {

Publisher::Publisher(Producer producer, std::string queue, Limits limits, const Signals& signals)
    : producer_(std::move(producer)),
      queue_(std::move(queue)),
      limits_(limits),
      signals_(signals),
      limiter_(limits.rate, signals),
      progress_(queue_),
      start_(std::chrono::steady_clock::now()) {
  if (limits_.batch == 0) limits_.batch = limiter_.limited() ? 1 : 256;
}

bool Publisher::send(std::span<const std::span<const std::byte>> batch) {
  while (!batch.empty()) {
    if (!wants_more()) return false;
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>({batch.size(), limits_.batch, room()}));
    if (!limiter_.acquire(size)) return false;
    auto part = batch.first(size);
    while (!part.empty()) {
      const auto [status, done] = producer_.send_many(part);
      std::uint64_t bytes = 0;
      for (const auto& message : part.first(done)) bytes += message.size();
      count(done, bytes);
      part = part.subspan(done);
      batch = batch.subspan(done);
      if (status == Status::full) {
        ++rejected_;
        pause();
      } else if (status != Status::ok) {
        status_ = status;
        return false;
      }
      if (signals_.stop_requested()) break;
    }
  }
  return true;
}

Loan Publisher::loan() { return next_loan(false); }
Loan Publisher::loan_patiently() { return next_loan(true); }

Loan Publisher::next_loan(bool patient) {
  bool due = false;
  while (wants_more()) {
    if (!due && !limiter_.acquire(1)) break;
    auto loan = producer_.loan();
    if (loan) return std::move(*loan);
    if (loan.status() != Status::full) {
      status_ = loan.status();
      break;
    }
    ++rejected_;
    due = patient;
    if (patient || !limiter_.limited()) pause();
  }
  return {};
}

bool Publisher::publish(Loan& loan, std::size_t length) {
  for (;;) {
    const Status status = loan.publish(length);
    if (status == Status::ok) {
      count(1, length);
      return true;
    }
    if (status != Status::full) {
      status_ = status;
      return false;
    }
    ++rejected_;
    pause();
    if (signals_.stop_requested()) return false;
  }
}

void Publisher::count(std::uint64_t messages, std::uint64_t bytes) {
  messages_ += messages;
  bytes_ += bytes;
  progress_.update(messages_, bytes_);
}

void Publisher::pause() { signals_.wait_until(std::chrono::steady_clock::now() + std::chrono::milliseconds(1)); }

double Publisher::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void Publisher::close() noexcept {
  progress_.finish();
  producer_.close();
}

}  // namespace ipcq::program
