// The configuration file of ipcq-redis: TOML whose keys are the names of options, with _ or -:
//
//   redis = "redis://127.0.0.1:6379"
//   queue = "frames"
//   stream = ["tasks,priority=1", "bulk"]
//   trim = true
//
// What the command line or the environment says wins.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ipcq::bridge {

// The file that --config or IPCQ_REDIS_CONFIG names, else the first of $XDG_CONFIG_HOME/ipcq/redis.toml and
// /etc/ipcq/redis.toml that exists; none where there is none.
std::optional<std::string> find_config(const std::vector<std::string>& arguments);

// The variable that sets an option: IPCQ_REDIS_CLAIM_AFTER for --claim-after; IPCQ_REDIS_URL for --redis.
std::string variable_of(std::string_view option);

// The arguments, and before them those that a file's text says and neither `arguments` nor the environment does.
// `source` names the text in errors. The server's URL, which may have a password, goes to IPCQ_REDIS_URL instead, for
// this process. Throws UsageError.
std::vector<std::string> with_config(const std::vector<std::string>& arguments, std::string_view text,
                                     const std::string& source);
// The same with the file's text. Throws UsageError also for a file that cannot be read.
std::vector<std::string> with_config_file(const std::vector<std::string>& arguments, const std::string& path);

}  // namespace ipcq::bridge
