#include "commands/examine.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ipcq/error.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "program/findings_report.hpp"
#include "program/program.hpp"
#include "redis/scripts.hpp"
#include "server_options.hpp"
#include "tasks/start_checks.hpp"

namespace ipcq::bridge {
namespace {

using program::Finding;
using Level = Finding::Level;

struct ExamineOptions {
  ServerOptions server;
  std::string key = "ipcq";
  bool json = false;
};

// The value of a line NAME:VALUE of INFO.
std::string info(Connection& connection, std::string_view section, std::string_view name) {
  const Reply reply = connection.call({"INFO", section});
  std::string_view text = reply.view().text();
  while (!text.empty()) {
    const auto end = text.find("\r\n");
    const auto line = text.substr(0, end);
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ':') {
      return std::string(line.substr(name.size() + 1));
    }
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 2);
  }
  return {};
}

// None where the user may not ask, or there is no such setting.
std::optional<std::string> setting(Connection& connection, std::string_view name) {
  const Reply reply = connection.call({"CONFIG", "GET", name});
  if (reply.view().size() < 2) return std::nullopt;
  return std::string(reply.view()[1].text());
}

int part_of(std::string_view version, int index) {
  for (; index > 0 && !version.empty(); --index) {
    const auto dot = version.find('.');
    version = dot == std::string_view::npos ? std::string_view() : version.substr(dot + 1);
  }
  int value = 0;
  std::from_chars(version.data(), version.data() + version.size(), value);
  return value;
}

Finding check_version(Connection& connection) {
  const auto valkey = info(connection, "server", "valkey_version");
  const auto redis = info(connection, "server", "redis_version");  // Valkey says which Redis it is like
  const auto text = valkey.empty() ? "Redis " + redis : "Valkey " + valkey;
  const bool enough = part_of(redis, 0) > 6 || (part_of(redis, 0) == 6 && part_of(redis, 1) >= 2);
  if (redis.empty()) return {Level::warn, "server", "does not tell its version", "let the user ask for INFO"};
  if (!enough) return {Level::fail, "server", text + " is too old", "use Redis 6.2 or later, or Valkey"};
  return {Level::ok, "server", fmt::format("{} at {}", text, connection.address().text()), {}};
}

Finding check_role(Connection& connection) {
  const auto role = info(connection, "replication", "role");
  if (role == "slave") {
    return {Level::fail, "role", "the server is a replica, which takes no writes", "name the one that it replicates"};
  }
  return {Level::ok, "role", role.empty() ? "unknown" : role, {}};
}

Finding check_persistence(Connection& connection) {
  const auto appends = setting(connection, "appendonly"), syncs = setting(connection, "appendfsync");
  if (!appends)
    return {Level::warn, "persistence", "the user may not ask for it",
            "let the user read CONFIG, or ask an administrator"};
  if (*appends != "yes") {
    return {Level::warn, "persistence", "without an append-only file: tasks and results end with the server",
            "set appendonly yes, and appendfsync always where no confirmed result may be lost"};
  }
  if (syncs != "always") {
    return {Level::ok,
            "persistence",
            fmt::format("appendfsync {}: a power cut may take what was confirmed last", syncs.value_or("unknown")),
            {}};
  }
  return {Level::ok, "persistence", "appendfsync always: what is confirmed stays", {}};
}

Finding check_eviction(Connection& connection) {
  const auto policy = setting(connection, "maxmemory-policy"), most = setting(connection, "maxmemory");
  if (!policy)
    return {Level::warn, "eviction", "the user may not ask for it",
            "let the user read CONFIG, or ask an administrator"};
  if (*policy != "noeviction" && most != "0") {
    return {Level::fail, "eviction",
            fmt::format("maxmemory-policy {}: a full server deletes tasks and results", *policy),
            "set maxmemory-policy noeviction"};
  }
  return {Level::ok, "eviction", most == "0" ? "memory is not limited" : "a full server refuses what is new", {}};
}

Finding check_scripts(Connection& connection) {
  try {
    for (const std::string_view name : {"finish_entries", "finish_taken", "claim_entries", "take", "move_to_stream"}) {
      Script(name).load(connection);
    }
  } catch (const Error& error) {
    return {Level::fail, "scripts", error.what(), "let the user run scripts"};
  }
  return {Level::ok, "scripts", "can be run", {}};
}

struct Use {
  std::string_view name;
  std::vector<std::string> uses;
};

Finding check_commands(Connection& connection, const std::string& key) {
  const std::vector<Use> all = {{"streams", {"stream", "results-stream"}},
                                {"lists", {"list", "left", "wait", "results-list"}},
                                {"sorted sets", {"sorted-set"}},
                                {"--rate", {"rate"}},
                                {"--trim", {"trim"}},
                                {"results in keys", {"results-key"}},
                                {"--metrics", {"sizes", "rest"}}};
  std::string text;
  std::vector<std::string> lacks;
  for (const auto& [name, uses] : all) {
    std::optional<std::vector<std::string>> missing;
    try {
      missing = missing_commands(connection, key, key, uses);
    } catch (const Moved& moved) {
      return {Level::warn, "commands", fmt::format("'{}' lies on another node: {}", key, moved.what()),
              "name that node by --redis, or a key of this one by --key"};
    } catch (const ConnectionLost& lost) {
      return {Level::warn, "commands", fmt::format("could not be looked at: {}", lost.what()), "see above"};
    }
    if (!missing) {
      return {
          Level::warn, "commands",
          fmt::format("the user may not use keys such as '{}:...': which commands it may run was not looked at", key),
          "name one of your streams or lists by `ipcq-redis doctor --key`"};
    }
    text += fmt::format("{}for {}: {}", text.empty() ? "" : "; ", name,
                        missing->empty() ? "all" : fmt::format("not {}", fmt::join(*missing, ", ")));
    for (const auto& command : *missing) {
      if (std::find(lacks.begin(), lacks.end(), command) == lacks.end()) lacks.push_back(command);
    }
  }
  if (lacks.empty()) return {Level::ok, "commands", "the user may run all that a bridge needs", {}};
  return {Level::warn, "commands", text,
          fmt::format("where that is needed: {}", permission_remedy(connection.address(), lacks))};
}

void describe(program::CommandLine& line, ExamineOptions& o) {
  describe_server(line, o.server);
  line.add_option("--key", o.key, "Stream or list with which it looks what the user may do; nothing is changed")
      .check(program::not_empty())
      .show_default();
  line.add_flag("--json", o.json, "JSON on stdout");
}

int run(ExamineOptions& o, program::Signals& /*signals*/) {
  std::vector<Finding> findings;
  const Address address = address_of(o.server);
  try {
    constexpr std::chrono::seconds kPatience{5};
    Connection connection(locate(address, kPatience), "ipcq-redis-doctor", kPatience);
    findings = examine(connection, o.key);
  } catch (const ConnectionLost& lost) {
    findings.push_back(
        {Level::fail, "server", lost.what(), "start it, or say by --redis or IPCQ_REDIS_URL where it is"});
  } catch (const PermissionError& error) {
    findings.push_back({Level::fail, "server", error.what(), "give user and password"});
  }
  for (auto& finding : findings) finding.subject = "redis " + finding.subject;
  return program::report_findings(findings, o.json);
}

}  // namespace

std::vector<Finding> examine(Connection& connection, const std::string& key) {
  return {check_version(connection),  check_role(connection),    check_persistence(connection),
          check_eviction(connection), check_scripts(connection), check_commands(connection, key)};
}

int examine_command(int argc, char** argv) {
  return program::run_program<ExamineOptions>("ipcq-redis", "Looks whether a server can be worked with.", argc, argv,
                                              describe, run);
}

}  // namespace ipcq::bridge
