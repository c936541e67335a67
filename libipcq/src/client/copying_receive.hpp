// One call of Consumer::receive_into(): copies a message to the caller's buffer. docs/design/ring.md, "Receive in
// place".
//
// For the consumer's thread. Refers to the consumer's core, to the buffer and to the view, which must outlive it.
#pragma once

#include <cstddef>
#include <span>

#include "client/consumer_core.hpp"

namespace ipcq::detail {

class CopyingReceive {
 public:
  CopyingReceive(ConsumerCore& core, std::span<std::byte> buffer, MessageView& view) noexcept
      : core_(core), buffer_(buffer), view_(view) {}

  Status run(Duration timeout) noexcept;

 private:
  // run() but for the usual case of a plain line.
  [[gnu::noinline]] Status run_any(Deadline& deadline) noexcept;
  // By a held entry: of a message in a slot, or one that was given back.
  Status run_with_entry(Deadline& deadline) noexcept;

  ConsumerCore& core_;
  const std::span<std::byte> buffer_;
  MessageView& view_;
};

}  // namespace ipcq::detail
