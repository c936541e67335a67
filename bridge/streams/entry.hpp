// What an entry of a stream says of a task. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "redis/reply.hpp"
#include "settings.hpp"
#include "tasks/task.hpp"

namespace ipcq::bridge {

// KIND:NAME, or NAME alone for a list. None where the kind is unknown or the name is empty.
std::optional<ReplyTo> parse_reply_to(std::string_view text);

// Fills `task` from the fields of its entry, an array of names and values. `deliveries`: before this one. Returns why
// it is no task, or an empty text; the task has id, origin and attempt in any case.
std::string read_entry(ReplyView fields, std::uint32_t deliveries, const EngineSettings& settings, Task& task);

}  // namespace ipcq::bridge
