// Tells whoever started the broker that it serves: a descriptor (tests, shells) and systemd's notification socket.
#pragma once

namespace ipcq::program {

// Writes a newline to `fd` and closes it. Throws Failure when that fails.
void announce_on_descriptor(int fd);
// sd_notify(3) without libsystemd; does nothing without $NOTIFY_SOCKET. `state` such as "READY=1".
void notify_service_manager(const char* state) noexcept;

}  // namespace ipcq::program
