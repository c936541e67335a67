// Lets the broker know whose handler the process dies of: the others of the process are then started again at once,
// that one after a pause.
//
// Thread-safe.
#pragma once

namespace ipcq::runner {

// Tells the broker, without waiting. Async-signal-safe.
void send_obituary(const char* queue_segment) noexcept;

// From now on a signal that ends the process because of what a thread did sends it, if the thread works on a queue.
void send_obituaries_at_signals() noexcept;

}  // namespace ipcq::runner
