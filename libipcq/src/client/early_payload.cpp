#include "client/early_payload.hpp"

#include <chrono>
#include <cstring>
#include <thread>

#include "ipcq/builtin_handlers.hpp"

namespace ipcq::detail {

EarlyPayload::Outcome EarlyPayload::await(const MessageWait& wait, Deadline& deadline) noexcept {
  constexpr unsigned kLooks = 200;  // no comparison with other values is recorded
  for (unsigned looks = 0; !is_complete(); ++looks) {
    if (looks == kLooks || wait.go_on(deadline) != Status::ok) return Outcome::not_yet;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return read_outcome() ? Outcome::there : Outcome::lost;
}

bool EarlyPayload::is_complete() noexcept {
  if (!before_executor_) return is_written(d_, pool_);
  const Ring<SharedAtomics>& ring = queue_.ring();
  if (!PublishedView<SharedAtomics>(ring).is_processed(ticket_)) return false;
  read_ = ring.look(ticket_, processed_);
  return read_ != LineRead::absent || !ring.readable(ticket_);  // all units are there, or the line is reused
}

bool EarlyPayload::read_outcome() noexcept {
  if (is_buried(d_, pool_)) return false;
  if (!before_executor_) return true;
  if (read_ == LineRead::present) {
    if (!carries_message(processed_)) return false;
    d_.flags = processed_.flags;
    return true;
  }
  // The line is reused. The flags that the executor wrote follow from the queue's options and the length. What was
  // refused of a record batch its records tell.
  const auto batch = static_cast<std::uint8_t>(d_.flags & kRecords);
  d_.flags = static_cast<std::uint8_t>(kPayloadReady | batch);
  if (queue_.is_host_readable()) d_.flags |= kInMirror;
  if (batch != 0) return true;
  const auto& handler = queue_.config().handler;
  if (!handler_accepts({handler, ::strnlen(handler, sizeof handler)}, d_.length)) d_.flags |= kNotProcessed;
  return true;
}

}  // namespace ipcq::detail
