// Where a Redis or Valkey server is, and who asks: parsed from a URL. Plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ipcq::bridge {

struct HostPort {
  std::string host = "127.0.0.1";
  std::uint16_t port = 6379;
  bool operator==(const HostPort&) const = default;
};

struct Address {
  std::string host = "127.0.0.1";
  std::uint16_t port = 6379;
  std::vector<HostPort> sentinels{};  // not empty: these know where the server is
  std::string master{};               // the name that they have for it
  std::string socket;                 // path of a Unix socket; not empty: instead of host and port
  int database = 0;
  std::string user;      // empty: the server's default user
  std::string password;  // empty: none

  // As a URL, without the password.
  std::string text() const;
  bool operator==(const Address&) const = default;
};

// redis://[user[:password]@]host[:port][/database], with host in [] where it is an IPv6 address,
// redis-sentinel://[user[:password]@]host[:port][,host[:port]...]/master[/database], or
// unix://[user[:password]@]/path[?db=number]. `what` names the text in errors. Percent escapes stand for their bytes in
// user and password. Throws UsageError, also for rediss:// (TLS): the client library of this build has none.
Address parse_address(std::string_view url, std::string_view what);

}  // namespace ipcq::bridge
