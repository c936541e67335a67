// What the repair of a queue of calls asks of others: a request that was passed on is answered at its home, another
// queue. docs/design/calls.md, "Forwarded calls".
//
// Thread safety: that of the broker, which implements it.
#pragma once

#include <cstdint>
#include <optional>

#include "layout/forwarded_call.hpp"
#include "protocol/calls.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

class CallHomes {
 public:
  struct Home {
    const QueueMap* queue;
    const PoolMap* pool;
  };
  virtual ~CallHomes() = default;
  // The queue of that generation; nothing where there is none any more.
  virtual std::optional<Home> find(std::uint64_t generation) const = 0;
  // Whether the ticket of that queue was published. Precondition: who has claimed it is dead, and its endpoint there is
  // repaired. False also where the queue is gone.
  virtual bool was_published(std::uint64_t generation, std::uint64_t ticket) const = 0;
};

// A private copy of what the message says of a request that was passed on. False: it is damaged. `data`: of an inline
// message.
bool read_forwarded(const PoolMap& pool, const Descriptor& d, const std::byte* data, ForwardedCall& call) noexcept;

// Ends the call of a request that was passed on, where `who` had the message, or nobody: `died`, or it goes to another
// server of the queue where the message is (`may_give_back`), which returns true. Frees the slot of the request, unless
// it is its caller's, or goes on with it. Wakes the caller.
bool settle_forwarded(const CallHomes& homes, const ForwardedCall& call, std::uint64_t id, std::uint32_t who,
                      bool may_give_back) noexcept;

// The ticket with which the holder of a request was passing it on, and the queue (kPassedOn).
struct Onward {
  std::uint64_t ticket = 0;
  std::uint64_t queue = 0;
};
// Where a request was held, and by whom.
struct HeldBy {
  const QueueMap& queue;
  const PoolMap& pool;
  const CallHomes* homes;
  std::uint32_t client;
};
// What becomes of a request whose holder has ended: its call is answered with that death, or another server gets it, or
// it has gone on. Returns what becomes of the message's own slot. `d` is changed where the call has another number by
// now, and is to be given back so.
AnswerSide<SharedAtomics>::After settle_request(const HeldBy& by, Descriptor& d, const std::byte* data,
                                                const Onward& onward, bool may_give_back) noexcept;

// Requests of other queues in this one; of a `home` that is not 0, its own alone.
struct ForwardedCounts {
  std::uint64_t waiting = 0;  // no server has them, and their callers wait for an answer
  std::uint64_t held = 0;     // servers have them
};
ForwardedCounts count_forwarded(const QueueMap& queue, const PoolMap& pool, const CallHomes& homes,
                                std::uint64_t home = 0) noexcept;
// Ends the calls of those that wait, as settle_forwarded(), and frees their slots. The messages stay, and whoever takes
// one finds that nobody waits.
void end_waiting_forwarded(const QueueMap& queue, const PoolMap& pool, const CallHomes& homes,
                           std::uint64_t home = 0) noexcept;

}  // namespace ipcq::detail
