// A request that a server has passed on to another queue of calls: the message there, and what the held entry says of
// whoever passes it on. docs/design/calls.md, "Forwarded calls".
//
// The queue whose client has asked is the call's home: its entry, and the slot of the request, stay there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace ipcq::detail {

// Descriptor::schema of messages in queues of calls.
enum CallFlag : std::uint32_t {
  kForwardedCall = 1,  // the payload begins with a ForwardedCall, and the sequence is a call's id in its home
  // Only in a held entry: its holder passes the request on. StoredDescriptor::word[5] is the ticket that it has claimed
  // for that, word[6] the generation of the queue.
  kPassedOn = 2,
};

struct ForwardedCall {
  std::uint64_t home = 0;    // generation of that queue; 0: it is nobody's, to be passed over
  std::uint64_t lease = 0;   // of the slot
  std::uint32_t slot = 0;    // of the request, in the pool of its home; kNone: the payload follows
  std::uint32_t length = 0;  // of the request
};
static_assert(sizeof(ForwardedCall) == 24 && std::is_trivially_copyable_v<ForwardedCall>);
static_assert(offsetof(ForwardedCall, home) == 0 && offsetof(ForwardedCall, lease) == 8 &&
              offsetof(ForwardedCall, slot) == 16 && offsetof(ForwardedCall, length) == 20);

}  // namespace ipcq::detail
