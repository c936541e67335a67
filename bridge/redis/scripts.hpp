// The scripts that a bridge runs in the server (bridge/scripts), by name.
#pragma once

#include <string>
#include <string_view>

#include "redis/connection.hpp"

namespace ipcq::bridge {

// The text of bridge/scripts/NAME.lua.
std::string_view script_text(std::string_view name);

// The digest by which a server runs a script, once load() has given it its text.
class Script {
 public:
  explicit Script(std::string_view name) : text_(script_text(name)) {}
  // Throws ConnectionLost, PermissionError (the user may not run scripts), UsageError (the server cannot compile it).
  void load(Connection& connection);
  std::string_view digest() const noexcept { return digest_; }

 private:
  std::string_view text_;
  std::string digest_;
};

}  // namespace ipcq::bridge
