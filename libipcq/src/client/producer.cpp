// The members of Producer, which call ProducerCore. send() is defined beside the core's, in producer_core.cpp, so that
// the compiler can inline that.
#include "ipcq/producer.hpp"

#include <algorithm>

#include "base/deadline.hpp"
#include "client/forwarding.hpp"
#include "client/producer_core.hpp"

namespace ipcq {

Producer::Producer() noexcept = default;
Producer::Producer(std::unique_ptr<detail::ProducerCore> core) noexcept : core_(std::move(core)) {}
Producer::Producer(Producer&&) noexcept = default;
Producer& Producer::operator=(Producer&& other) noexcept {
  if (this != &other) {
    close();
    core_ = std::move(other.core_);
  }
  return *this;
}
Producer::~Producer() { close(); }

void Producer::close() noexcept { close(false); }
void Producer::break_off() noexcept { close(true); }

void Producer::close(bool broken_off) noexcept {
  if (!core_) return;
  if (core_->is_forked_child()) return detail::keep_for_ever(std::move(core_));
  const auto session = core_->shared_session();
  core_->close(broken_off);
  if (core_->has_loans()) {  // loans refer to the core
    session->retire(std::shared_ptr<detail::ProducerCore>(std::move(core_)));
  }
  core_.reset();
}

Result<Loan> Producer::loan(Timeout timeout) noexcept {
  detail::Deadline deadline(timeout);
  return core_ ? core_->loan(deadline) : Status::closed;
}
BatchResult Producer::send_many(std::span<const std::span<const std::byte>> batch, Timeout timeout) noexcept {
  detail::Deadline deadline(timeout);
  return core_ ? core_->send_many(batch, deadline) : BatchResult{Status::closed, 0};
}
std::uint64_t Producer::deadline_of(Timeout timeout) noexcept { return detail::deadline_after(timeout); }
BatchResult Producer::send_until(std::span<const std::span<const std::byte>> batch, std::uint64_t deadline,
                                 bool more) noexcept {
  auto until = detail::Deadline::until(deadline);
  return core_ ? core_->send_many(batch, until, more) : BatchResult{Status::closed, 0};
}
void Producer::end_batch() noexcept {
  if (core_) core_->end_batch();
}
Status Producer::forward(Message& message, Timeout timeout) noexcept {
  detail::Deadline deadline(timeout);
  return core_ ? detail::Forwarding(*core_, message, deadline).run() : Status::closed;
}
std::size_t Producer::max_bytes() const noexcept {
  return core_ ? std::max(core_->slot_bytes(), core_->inline_bytes()) : 0;
}
std::size_t Producer::slot_bytes() const noexcept { return core_ ? core_->slot_bytes() : 0; }
std::size_t Producer::inline_bytes() const noexcept { return core_ ? core_->inline_bytes() : 0; }
std::size_t Producer::metadata_bytes() const noexcept { return core_ ? core_->pool()->config().metadata_bytes : 0; }
std::size_t Producer::metadata_for_values() const noexcept {
  return core_ ? detail::metadata_for_values(*core_->queue(), *core_->pool()) : 0;
}
std::string Producer::schema() const { return core_ ? core_->queue()->schema(detail::kSchemaIn) : std::string(); }
std::uint32_t Producer::id() const noexcept { return core_ ? core_->client() : 0; }

}  // namespace ipcq
