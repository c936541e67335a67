#include "client/publish_bells.hpp"

namespace ipcq::detail {

PublishBells::PublishBells(const QueueMap& queue, const PoolMap& pool) noexcept
    : control_(queue.control()),
      slot_free_(pool.control().free),
      has_handler_(queue.ring().has_handler()),
      on_device_(queue.on_device()),
      drops_oldest_(static_cast<Backpressure>(queue.config().backpressure) == Backpressure::drop_oldest),
      always_rings_(has_handler_ || drops_oldest_) {}

Status PublishBells::ring_any(std::uint8_t groups) const noexcept {
  if (has_handler_) {
    detail::ring(control_.work);
    if (on_device_) wake_attendant(groups);
    return Status::ok;
  }
  // A line that no group reads is free once it is published. And a producer that discards waits for a message to
  // discard.
  if (groups == 0) detail::ring(control_.space);
  bool droppable = drops_oldest_;
  for (unsigned left = groups; left != 0; left &= left - 1) {
    const auto g = static_cast<unsigned>(std::countr_zero(left));
    detail::ring(control_.ready[g]);
    droppable = droppable || is_lossy(g);
  }
  if (droppable) {
    detail::ring(control_.space);
    detail::ring(slot_free_);
  }
  return Status::ok;
}

// A GPU cannot ring bells. The runner's completion waker rings them when the GPU has finished, and sleeps while no bell
// is armed; then the publisher wakes it.
void PublishBells::wake_attendant(std::uint8_t groups) const noexcept {
  bool waited_for = is_armed(control_.space) || is_armed(slot_free_);
  for (unsigned left = groups; left != 0; left &= left - 1) {
    waited_for = waited_for || is_armed(control_.ready[static_cast<unsigned>(std::countr_zero(left))]);
  }
  if (waited_for) detail::ring(control_.completion_waker);
}

}  // namespace ipcq::detail
