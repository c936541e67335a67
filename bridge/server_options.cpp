#include "server_options.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <ipcq/error.hpp>

#include <fmt/format.h>

namespace ipcq::bridge {
namespace {

std::string read_password(const std::string& path) {
  std::ifstream file(path);
  std::string password;
  if (!file || (!std::getline(file, password) && !file.eof())) {
    throw UsageError(fmt::format("--password-file {}: cannot be read: {}", path, std::strerror(errno)));
  }
  if (password.ends_with('\r')) password.pop_back();
  if (password.empty()) throw UsageError(fmt::format("--password-file {}: its first line is empty", path));
  return password;
}

}  // namespace

void describe_server(program::CommandLine& line, ServerOptions& o) {
  add(line, "redis", o.url,
      "redis://[user@]host[:port][/database], redis-sentinel://host[:port],.../master or unix:///path "
      "[redis://127.0.0.1:6379]")
      .check(program::not_empty());
  add(line, "user", o.user, "User of the server's access control list").check(program::not_empty());
  add(line, "password-file", o.password_file, "File with the password, or set IPCQ_REDIS_PASSWORD")
      .check(program::not_empty());
}

Address address_of(const ServerOptions& o) {
  constexpr const char* kUrl = "IPCQ_REDIS_URL";
  const char* const variable = std::getenv(kUrl);
  Address address;
  if (o.url) {
    const bool from_variable = variable != nullptr && *o.url == variable;
    address = parse_address(*o.url, from_variable ? kUrl : "--redis");
    if (!from_variable && !address.password.empty()) {
      throw UsageError(
          "--redis: every user of this machine can see a password there; give it by IPCQ_REDIS_PASSWORD, "
          "IPCQ_REDIS_URL or --password-file");
    }
  }
  if (o.user) address.user = *o.user;
  if (const char* password = std::getenv("IPCQ_REDIS_PASSWORD"); password != nullptr) address.password = password;
  if (o.password_file) address.password = read_password(*o.password_file);
  if (!address.user.empty() && address.password.empty()) {
    throw UsageError(fmt::format(
        "user '{}': needs a password, by IPCQ_REDIS_PASSWORD, IPCQ_REDIS_URL or --password-file", address.user));
  }
  return address;
}

}  // namespace ipcq::bridge
