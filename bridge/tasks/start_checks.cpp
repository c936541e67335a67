#include "tasks/start_checks.hpp"

#include <algorithm>
#include <ipcq/error.hpp>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "program/logging.hpp"
#include "redis/scripts.hpp"
#include "tasks/chores.hpp"

namespace ipcq::bridge {
namespace {

namespace log = ::ipcq::program::log;

constexpr Milliseconds kLook{100};
constexpr Milliseconds kGone = 2 * Chores::kSign;  // unheard of for so long, where signs come twice as often

}  // namespace

void refuse_wrong_results(Connection& connection, const EngineSettings& settings) {
  const auto& results = settings.results;
  if (results.kind != "stream" && results.kind != "list") return;
  const Reply reply = connection.call({"TYPE", results.key});
  const auto type = reply.view().text();
  if (reply.view().is_error() || type == "none" || type == results.kind) return;
  throw UsageError(
      fmt::format("--results {}:{}: the key holds a {}; choose another one", results.kind, results.key, type));
}

std::optional<std::vector<std::string>> missing_commands(Connection& connection, const std::string& source,
                                                         const std::string& results,
                                                         const std::vector<std::string>& uses) {
  // Of a name that nobody has.
  const auto suffix = fmt::format(":ipcq-probe:{:08x}{:08x}", std::random_device{}(), std::random_device{}());
  const std::string key = source + suffix, result_key = results + suffix;
  Command command{"EVAL", script_text("permissions"), "2", key, result_key};
  command.insert(command.end(), uses.begin(), uses.end());
  const Reply reply = connection.call(command);
  if (reply.view().is_error()) return std::nullopt;
  std::vector<std::string> missing;
  for (std::size_t i = 0; i < reply.view().size(); ++i) {
    const auto name = reply.view()[i].text();
    if (name.starts_with(':')) return std::nullopt;
    missing.emplace_back(name);
  }
  if (std::find(uses.begin(), uses.end(), "wait") != uses.end()) {
    // Redis before 7.0 rounds down, and 0 is for ever.
    const Reply moved = connection.call({"BLMOVE", key, key, "LEFT", "RIGHT", "0.01"});
    if (moved.view().error_code() == "NOPERM") missing.emplace_back("blmove");
  }
  return missing;
}

std::string permission_remedy(const Address& address, const std::vector<std::string>& commands) {
  return fmt::format("ACL SETUSER {} +{}", address.user.empty() ? "default" : address.user, fmt::join(commands, " +"));
}

void refuse_missing_permissions(Connection& connection, const EngineSettings& settings) {
  std::vector<std::string> uses{std::string(kind_name(settings.kind))};
  if (settings.kind == Kind::list && settings.sources[0].from != "right") uses.emplace_back("left");
  if (settings.kind == Kind::list && settings.sources.size() == 1) uses.emplace_back("wait");
  if (settings.kind != Kind::stream && (settings.until_dry || settings.measure)) uses.emplace_back("rest");
  const auto& results = settings.results;
  if (results.kind == "stream" || results.kind == "list" || results.kind == "key") {
    uses.push_back("results-" + results.kind);
  }
  if (settings.rate > 0) uses.emplace_back("rate");
  if (settings.trim) uses.emplace_back("trim");
  if (settings.measure) uses.emplace_back("sizes");
  const auto& source = settings.sources[0].name;
  const auto missing = missing_commands(connection, source,
                                        results.key.empty() || results.kind == "channel" ? source : results.key, uses);
  if (!missing) {
    log::info("{}: whether the user may run all commands was not looked at: it may not use keys called '{}:...'",
              connection.address().text(), source);
    return;
  }
  if (missing->empty()) return;
  throw PermissionError(fmt::format("{}: the user may not run {}, which this bridge needs; let it: {}",
                                    connection.address().text(), fmt::join(*missing, ", "),
                                    permission_remedy(connection.address(), *missing)));
}

void refuse_namesake(Connection& connection, const EngineSettings& settings, const Reader& reader) {
  if (!settings.is_named) return;
  const auto until = Clock::now() + kGone;  // whatever the server's clock does
  auto before = reader.unheard_of(connection);
  if (before && *before < kGone)
    log::info("--consumer {}: looking whether a bridge of this name lives", settings.consumer);
  while (before && *before < kGone && Clock::now() < until + kLook) {
    std::this_thread::sleep_for(kLook);
    const auto now = reader.unheard_of(connection);
    if (now && *now < *before) {
      throw UsageError(
          fmt::format("--consumer {}: a bridge of this name works now on '{}'; stop it, or give each bridge a name of "
                      "its own (leave "
                      "--consumer out)",
                      settings.consumer, source_names(settings, "' or '")));
    }
    before = now;
  }
}

}  // namespace ipcq::bridge
