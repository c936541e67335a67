// How the programs of the bridge find a server: options, environment, files. And how their options are declared: each
// is a variable, too.
#pragma once

#include <optional>
#include <string>

#include "config_file.hpp"
#include "program/command_line.hpp"
#include "redis/address.hpp"

namespace ipcq::bridge {

struct ServerOptions {
  std::optional<std::string> url, user, password_file;
};

// --redis, --user, --password-file.
void describe_server(program::CommandLine& line, ServerOptions& options);
// Throws UsageError.
Address address_of(const ServerOptions& options);

template <class T>
program::CommandOption add(program::CommandLine& line, const std::string& name, T& value, const std::string& help) {
  return line.add_option("--" + name, value, help).environment(variable_of(name).c_str());
}
inline void flag(program::CommandLine& line, const std::string& name, bool& value, const std::string& help) {
  line.add_flag("--" + name, value, help).environment(variable_of(name).c_str());
}

}  // namespace ipcq::bridge
