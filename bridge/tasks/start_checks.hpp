// What a bridge makes sure of at its start, before it takes a task. All wait for the server, as Connection::call().
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "redis/connection.hpp"
#include "settings.hpp"
#include "tasks/reader.hpp"

namespace ipcq::bridge {

// That results have a place. Throws UsageError: a key holds something else.
void refuse_wrong_results(Connection& connection, const EngineSettings& settings);

// That its user may run all commands that it needs. Throws PermissionError, which names those that are missing.
void refuse_missing_permissions(Connection& connection, const EngineSettings& settings);

// That no other bridge lives that has its name, where that was given: both would take what one has in work for their
// own. Waits some 2 s where one lived a moment ago. Throws UsageError.
void refuse_namesake(Connection& connection, const EngineSettings& settings, const Reader& reader);

// The commands of these that the user may not run, in small letters, on keys that are called like `source` and
// `results`; `uses` as in bridge/scripts/permissions.lua. None where it cannot be found out: the keys are forbidden.
std::optional<std::vector<std::string>> missing_commands(Connection& connection, const std::string& source,
                                                         const std::string& results,
                                                         const std::vector<std::string>& uses);

// How to let a user run them.
std::string permission_remedy(const Address& address, const std::vector<std::string>& commands);

}  // namespace ipcq::bridge
