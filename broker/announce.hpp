// Tells whoever started the broker that it serves: a descriptor (tests, shells) and systemd's notification socket.
#pragma once

#include "common/signals.hpp"

namespace ipcq::program {

// Whether whoever started the broker handed `fd` down to be told there. Throws UsageError otherwise: a number that
// nobody opened may be one of the broker's own by the time it serves. Before anything is made; the broker's children do
// not inherit it from here on.
void require_announceable(int fd);
// Writes a newline to `fd` and closes it. Throws Failure when that fails. Nothing once a stop is requested.
void announce_on_descriptor(int fd, const Signals& signals);
// sd_notify(3) without libsystemd; does nothing without $NOTIFY_SOCKET. `state` such as "READY=1". Bounded: a manager
// that takes nothing for some seconds is not told.
void notify_service_manager(const char* state) noexcept;

}  // namespace ipcq::program
