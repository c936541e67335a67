#include "client/copying_receive.hpp"

#include <cstring>

namespace ipcq::detail {

Status CopyingReceive::run(Duration timeout) noexcept {
  if (core_.may_take_next()) [[likely]] {
    PackedUnits p;
    const std::uint64_t ticket = core_.in_place_.copy_next(buffer_.data(), buffer_.size(), p);
    if (ticket != kNoTicket) [[likely]] {
      core_.show(view_, p, buffer_.data(), ticket);
      core_.fetch_ahead(ticket);
      core_.show_first_deliveries();
      core_.message_wait_.announce_free_lines();
      return Status::ok;
    }
  }
  Deadline deadline(timeout);
  return run_any(deadline);
}

Status CopyingReceive::run_any(Deadline& deadline) noexcept {
  if (core_.device_side_ != nullptr) [[unlikely]] {
    if (const Status s = core_.await_device_side(deadline); s != Status::ok) return s;
  }
  if (core_.is_unusable()) return Status::closed;
  if (core_.is_consuming()) return Status::full;
  if (core_.records_) return run_with_entry(deadline);
  Taken taken;
  const auto attempt = [this]() __attribute__((always_inline)) {
    Taken t;
    Descriptor d;
    const std::uint64_t ticket = core_.in_place_.copy(buffer_.data(), buffer_.size(), d, t);
    if (t.outcome == TakeOutcome::taken) [[likely]]
      core_.show(view_, d, buffer_.data(), ticket);
    return t;
  };
  const Status s = core_.message_wait_.until_taken(core_.member_, attempt, deadline, taken, core_.damaged_);
  if (s != Status::ok) return core_.rest_after(s);
  if (taken.outcome == TakeOutcome::needs_entry) return run_with_entry(deadline);
  if (taken.outcome == TakeOutcome::too_large) return Status::too_large;
  core_.show_counters();
  return Status::ok;
}

Status CopyingReceive::run_with_entry(Deadline& deadline) noexcept {
  Message message;
  if (const Status s = core_.receive_any(message, deadline); s != Status::ok) return s;
  const Status refused = message.length() > buffer_.size()                     ? Status::too_large
                         : message.m_.data == nullptr && message.length() != 0 ? Status::unreachable
                                                                               : Status::ok;
  if (refused != Status::ok) {
    core_.take_back(message);
    core_.show_counters();
    return refused;
  }
  view_ = message;
  if (message.length() != 0) std::memcpy(buffer_.data(), message.m_.data, message.length());
  view_.m_.data = buffer_.data();
  (void)core_.release(message);
  return Status::ok;
}

}  // namespace ipcq::detail
