// SequenceCheck: counts gaps and repeats in the messages that one consumer receives, per producer. For one thread.
#pragma once

#include <cstdint>
#include <unordered_map>

namespace ipcq::program {

class SequenceCheck {
 public:
  // from_start: the first message of each producer must be its number 0 (a durable group without other members).
  // Otherwise the first message seen of a producer is where its count begins.
  explicit SequenceCheck(bool from_start) : from_start_(from_start) {}

  // redelivered: another member of the group had the message, and gave it back or died.
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
