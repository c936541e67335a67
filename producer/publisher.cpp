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
      if (status != Status::ok) {
        if (!goes_on_after(status)) return false;
        pause();
      }
      if (signals_.stop_requested()) break;
    }
  }
  return true;
}

Loan Publisher::loan() {
  return next_loan(false, [](Producer& producer) { return producer.loan(); });
}

Loan Publisher::loan_patiently() {
  return next_loan(true, [](Producer& producer) { return producer.loan(); });
}

bool Publisher::goes_on_after(Status status) {
  if (status == Status::full) {
    ++rejected_;
    return true;
  }
  status_ = status;
  return false;
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

void Publisher::close(bool failed) noexcept {
  progress_.finish();
  if (failed) {
    producer_.break_off();
  } else {
    producer_.close();
  }
}

}  // namespace ipcq::program
