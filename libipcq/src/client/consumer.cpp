// The members of Consumer, which call ConsumerCore.
#include "ipcq/consumer.hpp"

#include <string>

#include "client/consumption.hpp"
#include "client/copying_receive.hpp"
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
  core_->stop_showing();
  const bool in_use = core_->holds_any() || core_->is_consuming();
  const auto session = core_->shared_session();
  core_->close();
  if (in_use) {  // by messages, or by the consume() that has called this
    session->retire(std::shared_ptr<detail::ConsumerCore>(std::move(core_)));
  }
  core_.reset();
}

Result<Message> Consumer::receive(Timeout timeout) noexcept {
  Result<Message> message(std::in_place);  // filled in place, without a move
  const Status s = core_ ? core_->receive(*message, timeout) : Status::closed;
  if (s != Status::ok) message = s;
  return message;
}

std::size_t Consumer::metadata_bytes() const noexcept { return core_ ? core_->pool().config().metadata_bytes : 0; }
std::size_t Consumer::metadata_for_values() const noexcept {
  return core_ ? detail::metadata_for_values(*core_->queue(), core_->pool()) : 0;
}
std::string Consumer::schema() const {
  if (!core_) return {};
  const detail::QueueMap& queue = *core_->queue();
  return queue.schema(queue.has_schema_of_results() ? detail::kSchemaOut : detail::kSchemaIn);
}
int Consumer::fd() {
  if (!core_ || core_->is_unusable()) {
    throw UsageError("a consumer that is not open, or from before a fork, has no descriptor");
  }
  if (core_->uses_cuda()) {
    throw UsageError("a consumer that uses ipcq::cuda has no descriptor; open one without {.cuda = true}");
  }
  return core_->fd();
}

BatchResult Consumer::receive_many(std::span<Message> batch, Timeout timeout) noexcept {
  detail::Deadline deadline(timeout);
  return core_ ? core_->receive_many(batch, deadline) : BatchResult{Status::closed, 0};
}

Result<MessageView> Consumer::receive_into(std::span<std::byte> buffer, Timeout timeout) noexcept {
  Result<MessageView> view(std::in_place);
  const Status s = core_ ? detail::CopyingReceive(*core_, buffer, *view).run(timeout) : Status::closed;
  if (s != Status::ok) view = s;
  return view;
}
BatchResult Consumer::consume_with(const detail::MessageCallback& callback, Timeout timeout, std::size_t limit) {
  detail::Deadline deadline(timeout);
  return core_ ? detail::Consumption(*core_, callback).run(limit, deadline) : BatchResult{Status::closed, 0};
}

Message Consumer::next_or_end() {
  auto m = receive();
  if (m) return std::move(*m);
  if (m.status() == Status::end) return {};
  detail::throw_no_message(m.status());
}

void detail::throw_no_message(Status why) {
  if (why == Status::full) {
    throw ClosedError(why,
                      "consumer: holds as many messages as it may (full); release some before it goes on, or "
                      "create the queue with more (held=N)");
  }
  if (why == Status::failed || why == Status::unreachable) {
    throw ClosedError(why,
                      why == Status::failed
                          ? "consumer: the queue's handler refused a message or failed on it (failed), so it is no "
                            "value; the next receive() goes on behind it"
                          : "consumer: a message's payload is in device memory alone (unreachable); receive it by "
                            "ipcq::cuda");
  }
  if (why == Status::malformed) {
    throw ClosedError(why,
                      "consumer: a message is no value of the consumer's type (malformed); have its producer open the "
                      "queue with that type, or receive() pass it over");
  }
  throw ClosedError(why, "consumer: the queue stopped before the end of the stream (" + std::string(to_string(why)) +
                             "); receive() tells this by its status");
}

}  // namespace ipcq
