#include "device_block.hpp"

#include <cstring>

#include "context_scope.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {

DeviceBlock::DeviceBlock(const Context& context, const PoolHeader& pool, const std::string& object)
    : context_(context) {
  CUipcMemHandle handle;
  static_assert(sizeof handle.reserved == sizeof pool.device.ipc_handle);
  std::memcpy(handle.reserved, pool.device.ipc_handle, sizeof pool.device.ipc_handle);
  if (pool.device.base_offset > pool.device.bytes ||
      pool.slots * pool.slot_stride > pool.device.bytes - pool.device.base_offset) {
    throw BackendError(object + ": its header contradicts itself; restart the broker");
  }
  const CurrentContext current(context.handle());
  check_cuda(driver().cuIpcOpenMemHandle(&base_, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS), "cuIpcOpenMemHandle",
             object);
  payloads_ = reinterpret_cast<std::byte*>(base_ + pool.device.base_offset);
}

DeviceBlock::~DeviceBlock() {
  const ContextScope scope(context_);
  if (scope) driver().cuIpcCloseMemHandle(base_);
}

}  // namespace ipcq::detail
