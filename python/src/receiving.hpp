// How a consumer takes a message, for who makes an object of it.
#pragma once

#include <ipcq/consumer.hpp>

#include "message.hpp"
#include "waiting.hpp"

namespace ipcq::python {

// The group's next message; or the status for which there is none, once the caller's patience is over. The caller has a
// Held of the consumer, until it has made an object of the message.
Result<Message> receive_message(ConsumerState& consumer, const Patience& patience);

}  // namespace ipcq::python
