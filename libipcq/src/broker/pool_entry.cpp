#include "broker/pool_entry.hpp"

#include <utility>

namespace ipcq::detail {

PoolEntry::~PoolEntry() {
  if (!runner || fork_epoch() != epoch) return;
  runner->tell(RunnerOp::free, block);
}

DeviceMemory PoolEntry::allocate(std::shared_ptr<RunnerLink> owner, std::uint64_t bytes) {
  RunnerRequest r;
  r.op = RunnerOp::allocate;
  r.bytes = bytes;
  const RunnerReply reply = owner->request(r);
  runner = std::move(owner);
  block = reply.id;
  return reply.memory;
}

}  // namespace ipcq::detail
