// What an endpoint that is opened says of its types (ipcq/schema.hpp): two texts, which follow the request in the same
// message. Twin document: docs/design/sockets.md, "Control socket".
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "control/control_wire.hpp"
#include "layout/schema_words.hpp"

namespace ipcq::detail {

// Empty: any bytes. A producer sends `sent`; a consumer receives `received`; clients and servers say both, of the
// requests and of the replies.
struct SchemaClaim {
  std::string sent;
  std::string received;
};
inline constexpr std::size_t kMostClaimBytes = std::size_t{2} * kMostSchemaBytes;

// Sets `bytes` of the request, and returns what follows it.
inline std::string put_claim(Request& request, const SchemaClaim& claim) {
  request.bytes = static_cast<std::uint32_t>(claim.sent.size());
  return claim.sent + claim.received;
}
// The other way. False: what follows is none.
inline bool take_claim(const Request& request, std::string_view behind, SchemaClaim& claim) {
  if (request.bytes > behind.size() || behind.size() - request.bytes > kMostSchemaBytes) return false;
  if (request.bytes > kMostSchemaBytes) return false;
  claim.sent = behind.substr(0, request.bytes);
  claim.received = behind.substr(request.bytes);
  return true;
}

}  // namespace ipcq::detail
