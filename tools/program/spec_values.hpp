// The values of a spec's keys, from text. Pure functions; all throw UsageError, which begins with `what` and names the
// values that are allowed.
#pragma once

#include <ipcq/options.hpp>
#include <string>
#include <string_view>

namespace ipcq::program {

// "auto", "host" or "cuda".
std::string parse_backend(std::string_view text, const std::string& what);
// NAME[:must|:lossy][:paused].
GroupOptions parse_group(std::string_view text, const std::string& what);
Backpressure parse_backpressure(std::string_view text, const std::string& what);
Batch parse_batch(std::string_view text, const std::string& what);
std::string parse_schema(std::string_view text, const std::string& what);
OnServerDeath parse_on_server_death(std::string_view text, const std::string& what);
int parse_device(std::string_view text, const std::string& what);
Mirror parse_mirror(std::string_view text, const std::string& what);
bool parse_yes_no(std::string_view text, const std::string& what);
ExecutorKind parse_executor(std::string_view text, const std::string& what);

}  // namespace ipcq::program
