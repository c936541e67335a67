#include "redis/scripts.hpp"

#include <ipcq/error.hpp>

#include <fmt/format.h>

namespace ipcq::bridge {

void Script::load(Connection& connection) {
  const Reply reply = connection.call({"SCRIPT", "LOAD", text_});
  if (reply.view().is_error()) {
    const auto text = fmt::format("{}: {}", connection.address().text(), reply.view().text());
    if (reply.view().error_code() == "NOPERM") {
      throw PermissionError(text + "; the user needs +@scripting, +@stream, +@list, +@sortedset and +@connection");
    }
    throw UsageError(text + "; Redis 6.2 or later, or Valkey, is needed");
  }
  digest_ = reply.view().text();
}

}  // namespace ipcq::bridge
