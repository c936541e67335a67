// The members of Consumer, which call ConsumerCore.
#include "ipcq/consumer.hpp"

#include <string>

#include "client/consumer_core.hpp"
#include "ipcq/error.hpp"

namespace ipcq {

Consumer::Consumer() noexcept = default;
Consumer::Consumer(std::unique_ptr<detail::ConsumerCore> core) noexcept : core_(std::move(core)) {}
Consumer::Consumer(Consumer&&) noexcept = default;
Consumer& Consumer::operator=(Consumer&& other) noexcept {
  if (this != &other) {
    close();
    core_ = std::move(other.core_);
  }
  return *this;
}
Consumer::~Consumer() { close(); }

void Consumer::close() noexcept {
  if (!core_) return;
  if (core_->is_forked_child()) return detail::keep_for_ever(std::move(core_));
  core_->close_device_side();
  const bool messages_out = core_->holds_any();
  const auto session = core_->shared_session();
  core_->close();
  if (messages_out) {  // messages refer to the core
    session->retire(std::shared_ptr<detail::ConsumerCore>(std::move(core_)));
  }
  core_.reset();
}

Result<Message> Consumer::receive(Timeout timeout) noexcept {
  Result<Message> message(std::in_place);  // filled in place, without a move
  detail::Deadline deadline(timeout);
  const Status s = core_ ? core_->receive(*message, deadline) : Status::closed;
  if (s != Status::ok) message = s;
  return message;
}
BatchResult Consumer::receive_many(std::span<Message> batch, Timeout timeout) noexcept {
  detail::Deadline deadline(timeout);
  return core_ ? core_->receive_many(batch, deadline) : BatchResult{Status::closed, 0};
}

Message Consumer::next_or_end() {
  auto m = receive();
  if (m) return std::move(*m);
  if (m.status() == Status::end) return {};
  if (m.status() == Status::full) {
    throw ClosedError(m.status(),
                      "consumer: holds as many messages as it may (full); release some before it goes on, or "
                      "create the queue with more (held=N)");
  }
  throw ClosedError(m.status(), "consumer: the queue stopped before the end of the stream (" +
                                    std::string(to_string(m.status())) + "); receive() tells this by its status");
}

}  // namespace ipcq
