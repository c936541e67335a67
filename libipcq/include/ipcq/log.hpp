// Where the library's messages go: the log callback of a broker or a session (BrokerOptions::log, ConnectOptions::log).
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace ipcq {

enum class LogLevel : std::uint8_t { debug, info, warning, error };
// Receives the library's messages (one line, no newline). Empty: silence. Called from a thread that the broker or
// session has for it, one call at a time and in order; it may use that broker or session. Exceptions are ignored.
// Nothing waits for it: while it is busy 1024 lines wait, and further ones are counted ("N lines were not logged").
// Broker::stop() and the destructors of Broker and Session deliver the lines that wait, for a second at most; a call
// that has begun by then may outlast them.
using LogCallback = std::function<void(LogLevel, std::string_view)>;

}  // namespace ipcq
