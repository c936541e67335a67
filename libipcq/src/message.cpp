// The handles that user code holds: thin shells over the cores.
#include "ipcq/message.hpp"

#include <exception>
#include <utility>

#include "consumer_core.hpp"
#include "producer_core.hpp"

namespace ipcq {

Loan::Loan(Loan&& other) noexcept
    : core_(std::exchange(other.core_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      capacity_(std::exchange(other.capacity_, 0)),
      lease_(other.lease_),
      slot_(other.slot_) {}

Loan& Loan::operator=(Loan&& other) noexcept {
  if (this != &other) {
    if (core_ != nullptr) core_->drop(*this);
    core_ = std::exchange(other.core_, nullptr);
    data_ = std::exchange(other.data_, nullptr);
    capacity_ = std::exchange(other.capacity_, 0);
    lease_ = other.lease_;
    slot_ = other.slot_;
  }
  return *this;
}

Loan::~Loan() {
  if (core_ != nullptr) core_->drop(*this);
}

Status Loan::publish(std::size_t length, Duration timeout) noexcept {
  return core_ != nullptr ? core_->publish(*this, length, timeout) : Status::not_held;
}

Message::Message(Message&& other) noexcept { *this = std::move(other); }

Message& Message::operator=(Message&& other) noexcept {
  if (this != &other) {
    if (core_ != nullptr) (void)release();
    core_ = std::exchange(other.core_, nullptr);
    data_ = std::exchange(other.data_, nullptr);
    length_ = std::exchange(other.length_, 0);
    sequence_ = other.sequence_;
    ticket_ = other.ticket_;
    published_at_ns_ = other.published_at_ns_;
    held_ = other.held_;
    producer_ = other.producer_;
    redeliveries_ = other.redeliveries_;
    unwinding_ = other.unwinding_;
    processed_ = other.processed_;
  }
  return *this;
}

Message::~Message() {
  if (core_ == nullptr) return;
  if (std::uncaught_exceptions() > static_cast<int>(unwinding_)) {
    (void)nack();
  } else {
    (void)release();
  }
}

Status Message::release() noexcept { return core_ != nullptr ? core_->release(*this) : Status::not_held; }
Status Message::nack() noexcept { return core_ != nullptr ? core_->nack(*this) : Status::not_held; }

}  // namespace ipcq
