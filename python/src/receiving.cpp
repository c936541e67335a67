#include "receiving.hpp"

namespace ipcq::python {

Result<Message> receive_message(ConsumerState& consumer, const Patience& patience) {
  consumer.check_owner();
  return wait_for(
      consumer.turn(), patience, false, [&](Duration left) { return consumer.consumer().receive(left); },
      [&](Result<Message>& unread) { MessageObject::end_of(consumer, *unread, true); });
}

}  // namespace ipcq::python
