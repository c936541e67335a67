// The group of a bridge's streams, and its consumers. All wait for the server, as Connection::call().
#pragma once

#include <optional>

#include "redis/connection.hpp"
#include "settings.hpp"

namespace ipcq::bridge {

// Those that are missing, with their streams. Throws UsageError (a key holds something else), PermissionError.
void create_groups(Connection& connection, const EngineSettings& settings);

// How long none of the streams has heard of this bridge's consumer; none: there is none of its name.
std::optional<Milliseconds> consumer_unheard_of(Connection& connection, const EngineSettings& settings);

}  // namespace ipcq::bridge
