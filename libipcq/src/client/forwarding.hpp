// Forwards a received message to another queue, within its pool without a copy. docs/design/ring.md, "Aliases and
// forward". One object for each call, in the thread of producer and consumer.
//
// Invariant: the consumer holds the received message until the forwarded one is published, so a call that fails leaves
// it held.
#pragma once

#include "base/deadline.hpp"
#include "client/consumer_core.hpp"
#include "client/producer_core.hpp"

namespace ipcq::detail {

class Forwarding {
 public:
  Forwarding(ProducerCore& to, Message& message, Deadline& deadline) noexcept
      : to_(to), reader_(message.hold_.core), message_(message), deadline_(deadline) {}

  Status run() noexcept;

 private:
  Status by_alias(const Descriptor& from) noexcept;
  Status by_copy(Deadline& deadline) noexcept;
  Status copy_with_metadata(Deadline& deadline) noexcept;

  ProducerCore& to_;
  ConsumerCore* const reader_;  // null: the message is not held
  Message& message_;
  Deadline& deadline_;
};

}  // namespace ipcq::detail
