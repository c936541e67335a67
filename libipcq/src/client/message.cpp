// The members of Loan and Message, which call the cores.
#include "ipcq/message.hpp"

#include <exception>

#include "client/consumer_core.hpp"
#include "client/producer_core.hpp"

namespace ipcq {

void Loan::give_back() noexcept { core_->drop(*this); }

Status Loan::publish(std::size_t length, Timeout timeout) noexcept {
  detail::Deadline deadline(timeout);
  return core_ != nullptr ? core_->publish(*this, length, deadline) : Status::not_held;
}

Status Loan::set_metadata(std::span<const std::byte> bytes) noexcept {
  if (core_ == nullptr) return Status::not_held;
  if (core_->is_unusable()) return Status::closed;
  return core_->pool()->give_metadata({slot_, lease_}, bytes);
}

std::span<const std::byte> Message::metadata() const noexcept {
  if (hold_.core == nullptr || hold_.core->is_unusable() || detail::ConsumerCore::is_record(*this)) return {};
  if (hold_.core->pool().config().metadata_bytes == 0) return {};
  const detail::Descriptor d = hold_.core->descriptor(*this);
  if (d.kind != detail::LineKind::slot) return {};
  return hold_.core->pool().metadata(d.slot, d.lease);
}

void Message::end() noexcept {
  if (std::uncaught_exceptions() > hold_.unwinding) {
    (void)nack();
  } else {
    (void)release();
  }
}

Status Message::release() noexcept { return hold_.core != nullptr ? hold_.core->release(*this) : Status::not_held; }
Status Message::nack() noexcept { return hold_.core != nullptr ? hold_.core->nack(*this) : Status::not_held; }

}  // namespace ipcq
