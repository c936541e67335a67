#include "streams/consumer_group.hpp"

#include <ipcq/error.hpp>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace ipcq::bridge {
namespace {

std::string_view hint_of(std::string_view type) {
  if (type == "list") return ", or take tasks from it by --list";
  return type == "zset" ? ", or take tasks from it by --sorted-set" : "";
}

// A server without room for more refuses to create what is there.
bool has_group(Connection& connection, const std::string& stream, const std::string& group) {
  const Reply reply = connection.call({"XINFO", "GROUPS", stream});
  for (std::size_t i = 0; i < reply.view().size(); ++i) {
    if (reply.view()[i][1].text() == group) return true;
  }
  return false;
}

}  // namespace

void create_groups(Connection& connection, const EngineSettings& settings) {
  for (const auto& source : settings.sources) {
    if (has_group(connection, source.name, settings.group)) continue;
    const Reply reply = connection.call({"XGROUP", "CREATE", source.name, settings.group, "0", "MKSTREAM"});
    const auto code = reply.view().error_code();
    if (code.empty() || code == "BUSYGROUP") continue;
    const auto text = fmt::format("stream '{}': {}", source.name, reply.view().text());
    if (code == "NOPERM") throw PermissionError(text + "; let the user work on this key (ACL SETUSER)");
    if (code == "WRONGTYPE") {
      const Reply type = connection.call({"TYPE", source.name});
      throw UsageError(fmt::format("--stream {}: the key holds a {}; choose another one{}", source.name,
                                   type.view().text(), hint_of(type.view().text())));
    }
    throw ConnectionLost(text);
  }
}

std::optional<Milliseconds> consumer_unheard_of(Connection& connection, const EngineSettings& settings) {
  std::optional<Milliseconds> least;
  for (const auto& source : settings.sources) {
    const Reply reply = connection.call({"XINFO", "CONSUMERS", source.name, settings.group});
    for (std::size_t i = 0; i < reply.view().size(); ++i) {
      const auto about = reply.view()[i];
      if (about[1].text() != settings.consumer) continue;
      const Milliseconds idle(about[5].number());  // name NAME pending N idle MS
      if (!least || idle < *least) least = idle;
    }
  }
  return least;
}

}  // namespace ipcq::bridge
