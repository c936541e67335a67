#include "broker/pool_entry.hpp"

#include <exception>
#include <utility>

namespace ipcq::detail {

PoolEntry::~PoolEntry() {
  if (!runner || fork_epoch() != epoch) return;
  RunnerRequest r;
  r.op = RunnerOp::free;
  r.id = block;
  try {
    (void)runner->request(r);
  } catch (const std::exception&) {  // the runner has ended, and its memory is free
  }
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
