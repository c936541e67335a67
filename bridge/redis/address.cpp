#include "redis/address.hpp"

#include <cstdlib>
#include <ipcq/error.hpp>

#include <fmt/format.h>

#include "program/size_text.hpp"

namespace ipcq::bridge {
namespace {

constexpr std::string_view kForms =
    "redis://[user@]host[:port][/database], redis-sentinel://[user@]host[:port][,...]/master[/database] or "
    "unix://[user@]/path[?db=number]";
constexpr std::uint16_t kSentinelPort = 26379;

[[noreturn]] void refuse(std::string_view what, std::string_view why) {
  throw UsageError(fmt::format("{}: {}; write {}", what, why, kForms));
}

int value_of(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

std::string without_escapes(std::string_view text, std::string_view what) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? value_of(text[i + 1]) : -1;
    const int low = high >= 0 ? value_of(text[i + 2]) : -1;
    if (low < 0) refuse(what, "a % in user or password must begin an escape such as %40");
    plain += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return plain;
}

// Takes "user:password@" from the front of `rest`.
void take_user(std::string_view& rest, Address& address, std::string_view what) {
  const auto end = rest.substr(0, rest.find('/')).rfind('@');
  if (end == std::string_view::npos) return;
  const auto user = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  const auto colon = user.find(':');
  address.user = without_escapes(user.substr(0, colon), what);
  if (colon != std::string_view::npos) address.password = without_escapes(user.substr(colon + 1), what);
}

int parse_database(std::string_view text, std::string_view what) {
  if (text.find('@') != std::string_view::npos) {  // not shown: a part of a password may be in it
    refuse(what, "there is an @ behind a /; write / as %2F and @ as %40 in user and password");
  }
  return static_cast<int>(program::parse_number(text, fmt::format("{}: the database", what), 0, 1'000'000));
}

void parse_path(std::string_view rest, Address& address, std::string_view what) {
  constexpr std::string_view kDatabase = "?db=";
  const auto query = rest.find('?');
  address.socket = rest.substr(0, query);
  if (address.socket.empty() || address.socket[0] != '/') refuse(what, "the socket's path must begin with /");
  if (query == std::string_view::npos) return;
  if (!rest.substr(query).starts_with(kDatabase)) refuse(what, "only ?db=NUMBER may follow the socket's path");
  address.database = parse_database(rest.substr(query + kDatabase.size()), what);
}

HostPort parse_host_port(std::string_view text, std::uint16_t usual, std::string_view what) {
  HostPort to{.host = {}, .port = usual};
  std::string_view port;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) refuse(what, "the ] behind the IPv6 address is missing");
    to.host = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (!port.empty() && port[0] != ':') refuse(what, "only :PORT may follow the ]");
  } else {
    const auto colon = text.find(':');
    to.host = text.substr(0, colon);
    if (colon != std::string_view::npos) port = text.substr(colon);
  }
  if (to.host.empty()) refuse(what, "the host is missing");
  if (!port.empty()) {
    to.port =
        static_cast<std::uint16_t>(program::parse_number(port.substr(1), fmt::format("{}: the port", what), 1, 65535));
  }
  return to;
}

void parse_host(std::string_view rest, Address& address, std::string_view what) {
  const auto slash = rest.find('/');
  if (slash != std::string_view::npos && slash + 1 < rest.size()) {
    address.database = parse_database(rest.substr(slash + 1), what);
  }
  const HostPort to = parse_host_port(rest.substr(0, slash), address.port, what);
  address.host = to.host;
  address.port = to.port;
}

void parse_sentinels(std::string_view rest, Address& address, std::string_view what) {
  const auto slash = rest.find('/');
  if (slash == std::string_view::npos || slash + 1 == rest.size()) refuse(what, "the master's name is missing");
  auto hosts = rest.substr(0, slash);
  for (bool more = true; more;) {
    const auto comma = hosts.find(',');
    address.sentinels.push_back(parse_host_port(hosts.substr(0, comma), kSentinelPort, what));
    more = comma != std::string_view::npos;
    if (more) hosts.remove_prefix(comma + 1);
  }
  const auto name = rest.substr(slash + 1);
  const auto end = name.find('/');
  address.master = name.substr(0, end);
  if (address.master.empty()) refuse(what, "the master's name is missing");
  if (end != std::string_view::npos) address.database = parse_database(name.substr(end + 1), what);
}

std::string text_of(const HostPort& to) {
  const bool is_v6 = to.host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", is_v6 ? "[" : "", to.host, is_v6 ? "]" : "", to.port);
}

}  // namespace

std::string Address::text() const {
  const std::string who = user.empty() ? "" : user + "@";
  if (!socket.empty())
    return fmt::format("unix://{}{}{}", who, socket, database ? fmt::format("?db={}", database) : "");
  const std::string database_text = database ? fmt::format("/{}", database) : "";
  if (sentinels.empty()) return fmt::format("redis://{}{}{}", who, text_of({host, port}), database_text);
  std::string all;
  for (const auto& each : sentinels) {
    if (!all.empty()) all += ',';
    all += text_of(each);
  }
  return fmt::format("redis-sentinel://{}{}/{}{}", who, all, master, database_text);
}

Address parse_address(std::string_view url, std::string_view what) {
  Address address;
  const auto end = url.find("://");
  if (end == std::string_view::npos) refuse(what, "is no URL");
  const auto scheme = url.substr(0, end);
  std::string_view rest = url.substr(end + 3);
  if (scheme == "rediss") {
    throw UsageError(fmt::format(
        "{}: rediss:// asks for TLS, which the Redis client library of this build (hiredis 0.14) does not have; let "
        "stunnel or another TLS proxy on this machine connect to the server, and write redis:// with the proxy's port",
        what));
  }
  if (scheme != "redis" && scheme != "unix" && scheme != "redis-sentinel") {
    refuse(what, fmt::format("'{}://' is unknown", scheme));
  }
  take_user(rest, address, what);
  if (scheme == "unix") {
    parse_path(rest, address, what);
  } else if (scheme == "redis") {
    parse_host(rest, address, what);
  } else {
    parse_sentinels(rest, address, what);
  }
  return address;
}

}  // namespace ipcq::bridge
