// Publishes a client's requests: messages whose sequence is the id of their call. For the client's thread.
//
// Invariant: a request is published with its call open, so that whoever takes it finds where to answer.
#pragma once

#include <span>

#include "client/producer_core.hpp"

namespace ipcq::detail {

class CallSender {
 public:
  explicit CallSender(ProducerCore& producer) noexcept : producer_(producer) {}

  // `in_slot`: also a short one, so that there is room for a long reply. Statuses as Producer::send().
  Status send(std::uint64_t id, std::span<const std::byte> bytes, bool in_slot, Deadline& deadline) noexcept;
  // What the loan has; it is kept on any status but ok.
  Status publish(std::uint64_t id, Loan& loan, std::size_t length, Deadline& deadline) noexcept;
  // Once, in the log: why there is no room.
  void warn_of_unread() noexcept {
    if (!producer_.warned_) producer_.warn_of_unread(false);
  }
  // Whether the loan was made by this client.
  bool has_lent(const Loan& loan) const noexcept { return loan.core_ == &producer_; }

 private:
  friend class CallForwarding;
  Status send_inline(std::uint64_t id, std::span<const std::byte> bytes, Deadline& deadline) noexcept;
  // After a request was published.
  void count(std::uint8_t groups) noexcept;

  ProducerCore& producer_;
};

}  // namespace ipcq::detail
