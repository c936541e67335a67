// SequenceCheck: finds gaps and repeats in what one consumer receives, per producer.
#pragma once

#include <cstdint>
#include <unordered_map>

namespace ipcq::program {

class SequenceCheck {
 public:
  // from_start: the first message of each producer must be its number 0 (a durable group that nobody else reads).
  // Otherwise a producer counts from the first message seen of it.
  explicit SequenceCheck(bool from_start) : from_start_(from_start) {}

  // redelivered: another member of the group had it before and gave it back, or died.
  void see(std::uint32_t producer, std::uint64_t sequence, std::uint64_t ticket, bool redelivered);

  std::uint64_t missing() const noexcept { return missing_; }
  std::uint64_t repeated() const noexcept { return repeated_; }

 private:
  struct Stream {
    std::uint64_t next = 0;
    std::uint64_t last_ticket = 0;
    bool begun = false;
  };
  bool from_start_;
  std::unordered_map<std::uint32_t, Stream> streams_;
  std::uint64_t missing_ = 0;
  std::uint64_t repeated_ = 0;
};

}  // namespace ipcq::program
