#include "tasks/start_checks.hpp"

#include <ipcq/error.hpp>
#include <string_view>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "redis/scripts.hpp"
#include "tasks/chores.hpp"

namespace ipcq::bridge {
namespace {

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
  const std::string key = source + ":ipcq-probe", result_key = results + ":ipcq-probe";
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
  return missing;
}

std::string permission_remedy(const Address& address, const std::vector<std::string>& commands) {
  return fmt::format("ACL SETUSER {} +{}", address.user.empty() ? "default" : address.user, fmt::join(commands, " +"));
}

void refuse_missing_permissions(Connection& connection, const EngineSettings& settings) {
  std::vector<std::string> uses{std::string(kind_name(settings.kind))};
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
  if (!missing || missing->empty()) return;
  throw PermissionError(fmt::format("{}: the user may not run {}, which this bridge needs; let it: {}",
                                    connection.address().text(), fmt::join(*missing, ", "),
                                    permission_remedy(connection.address(), *missing)));
}

void refuse_namesake(Connection& connection, const EngineSettings& settings, const Reader& reader) {
  if (!settings.is_named) return;
  auto before = reader.unheard_of(connection);
  while (before && *before < kGone) {
    std::this_thread::sleep_for(kLook);
    const auto now = reader.unheard_of(connection);
    if (now && *now < *before) {
      throw UsageError(fmt::format(
          "--consumer {}: a bridge of this name works on '{}' now; stop it, or give each bridge a name of its own "
          "(leave --consumer out)",
          settings.consumer, settings.sources[0].name));
    }
    before = now;
  }
}

}  // namespace ipcq::bridge
