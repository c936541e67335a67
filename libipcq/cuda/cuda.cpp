// The members of the public classes, and the functions that loan and receive: forwarders to LoanSide and ReceiveSide.
// For the endpoint's thread; `resolved` is the one field that the poll thread writes meanwhile, and what it guards is
// read after it.
#include "ipcq/cuda.hpp"

#include "loans.hpp"
#include "receives.hpp"

namespace ipcq::cuda {
namespace {

// `state`, if the receive is resolved and has a message; else null.
const detail::MessageState* came(const detail::MessageState* state) noexcept {
  if (state == nullptr || !state->resolved.load(std::memory_order_acquire)) return nullptr;
  return state->known().state == static_cast<std::uint32_t>(Status::ok) ? state : nullptr;
}

}  // namespace

Loan::~Loan() {
  if (state_ != nullptr) state_->side->drop(*state_);
}

std::byte* Loan::device() const noexcept { return state_ != nullptr ? state_->side->device(*state_) : nullptr; }
std::size_t Loan::capacity() const noexcept { return state_ != nullptr ? state_->side->capacity() : 0; }

Status Loan::set_metadata(std::span<const std::byte> bytes) noexcept {
  return state_ != nullptr ? state_->side->set_metadata(*state_, bytes) : Status::not_held;
}

Status Loan::publish(std::size_t length, Timeout timeout) noexcept {
  if (state_ == nullptr) return Status::not_held;
  ipcq::detail::Deadline deadline(timeout);
  const Status s = state_->side->publish(*state_, length, deadline);
  if (s == Status::ok) state_ = nullptr;
  return s;
}

Result<Loan> loan(Producer& producer, Stream stream, Timeout timeout) {
  auto* const core = ipcq::detail::CudaAccess::core(producer);
  if (core == nullptr) return Status::closed;
  ipcq::detail::Deadline deadline(timeout);
  return ipcq::detail::LoanSide::of(*core).loan(stream, deadline);
}

Message::~Message() {
  if (state_ != nullptr) state_->side->end(*state_);
}

Payload Message::payload() const noexcept {
  Payload p;
  p.state = static_cast<std::uint32_t>(Status::empty);
  if (state_ == nullptr || !state_->resolved.load(std::memory_order_acquire)) return p;
  const Header& h = state_->known();
  p.state = static_cast<std::uint32_t>(h.status());
  p.data = h.data;
  p.length = h.length;
  p.sequence = h.sequence;
  if (!state_->may_be_lost) return p;
  p.tomb = state_->tomb != nullptr ? &state_->tomb->raw : nullptr;
  p.lease = state_->descriptor.lease;
  p.decided = state_->decided;
  p.use = state_->payload_use;
  return p;
}
const Header* Message::header() const noexcept { return state_ != nullptr ? state_->side->header(*state_) : nullptr; }
Status Message::status() const noexcept {
  if (state_ == nullptr) return Status::not_held;
  if (!state_->resolved.load(std::memory_order_acquire)) return Status::empty;
  const Status s = state_->known().status();
  return s == Status::ok && state_->is_lost() ? Status::peer_dead : s;
}
const std::byte* Message::device() const noexcept {
  const auto* s = came(state_);
  return s != nullptr ? s->known().data : nullptr;
}
std::size_t Message::length() const noexcept {
  const auto* s = came(state_);
  return s != nullptr ? s->descriptor.length : 0;
}
std::uint64_t Message::sequence() const noexcept {
  const auto* s = came(state_);
  return s != nullptr ? s->descriptor.sequence : 0;
}
std::uint32_t Message::producer() const noexcept {
  const auto* s = came(state_);
  return s != nullptr ? s->descriptor.producer : 0;
}
std::uint64_t Message::ticket() const noexcept {
  const auto* s = came(state_);
  return s != nullptr ? s->message.ticket() : 0;
}
std::uint64_t Message::published_at_ns() const noexcept {
  const auto* s = came(state_);
  return s != nullptr ? s->descriptor.published_at_ns : 0;
}
std::span<const std::byte> Message::metadata() const noexcept {
  const auto* s = came(state_);
  return s != nullptr ? s->message.metadata() : std::span<const std::byte>();
}
bool Message::resolved() const noexcept {
  return state_ != nullptr && state_->resolved.load(std::memory_order_acquire);
}

Result<Message> receive(Consumer& consumer, Stream stream, Timeout timeout) {
  auto* const core = ipcq::detail::CudaAccess::core(consumer);
  if (core == nullptr) return Status::closed;
  ipcq::detail::Deadline deadline(timeout);
  return ipcq::detail::ReceiveSide::of(*core).receive(stream, deadline);
}

Result<Message> receive_ahead(Consumer& consumer, Stream stream) {
  auto* const core = ipcq::detail::CudaAccess::core(consumer);
  if (core == nullptr) return Status::closed;
  return ipcq::detail::ReceiveSide::of(*core).receive_ahead(stream);
}

}  // namespace ipcq::cuda
