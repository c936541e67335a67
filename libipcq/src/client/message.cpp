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
