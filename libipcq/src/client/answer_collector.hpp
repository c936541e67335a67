// Of a queue whose handler answers calls: takes processed messages from the ring and puts each to its call, whose
// client may be another. docs/design/calls.md, "Handlers". For the client's thread.
//
// Invariant: a message is held until its call's word says that it is answered, as a request is by a server. So another
// client collects what a dead one had taken.
#pragma once

#include <cstdint>

#include "protocol/calls.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

class AnswerCollector {
 public:
  // `endpoint`, `client`: those of the client that collects.
  AnswerCollector(const QueueMap& queue, const PoolMap& pool, std::uint32_t endpoint, std::uint32_t client);

  bool has_work() const noexcept { return member_.has_work(); }
  // Collects some of what is there. False: it has taken nothing.
  bool collect() noexcept;

 private:
  struct Result;
  void deliver(std::uint32_t entry) noexcept;
  Result result_of(const Held& held, const Descriptor& d) const noexcept;
  // Writes the result to its call. False: nobody waits for it.
  bool tell(const Descriptor& d, const Result& result) noexcept;
  bool answer(const Descriptor& d, const Result& result) noexcept;

  const QueueMap& queue_;
  const PoolMap& pool_;
  GroupMember<SharedAtomics> member_;
  Endpoint& endpoint_;
  const std::uint32_t client_;
  const std::size_t answer_bytes_;
  std::uint64_t cancelled_ = 0;
  std::uint64_t damaged_ = 0;
};

}  // namespace ipcq::detail
