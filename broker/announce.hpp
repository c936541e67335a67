// Tells the process that started the broker that it serves: by a descriptor (tests, shells), and by systemd's
// notification socket. For the main thread.
#pragma once

#include "program/signals.hpp"

namespace ipcq::program {

// Throws UsageError unless the broker was started with `fd` open for writing: any other number may be a descriptor of
// the broker's own by the time it serves. Called before any other descriptor is opened. Makes `fd` close-on-exec.
void require_announceable(int fd);
// Writes a newline to `fd` and closes it. Throws Failure when that fails. After a stop request it gives up after a
// second, which is no failure.
void announce_on_descriptor(int fd, const Signals& signals);
// sd_notify(3) without libsystemd; does nothing without $NOTIFY_SOCKET. `state`: such as "READY=1". Gives up when the
// manager does not take the message within some seconds.
void notify_service_manager(const char* state) noexcept;

}  // namespace ipcq::program
