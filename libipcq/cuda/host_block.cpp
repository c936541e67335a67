#include "host_block.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "context_scope.hpp"
#include "ipcq/error.hpp"
#include "layout/limits.hpp"
#include "spare_memory.hpp"

namespace ipcq::detail {
namespace {

SpareMemory<void*>& spares() {
  static auto* const s = new SpareMemory<void*>;
  return *s;
}

// Pins memory of the process instead of allocating by the driver: a reset of the device would unmap the driver's, and
// the CPU would fault on it. MAP_SHARED: copy-on-write after a fork would part the CPU's pages from those that the GPU
// uses.
void* map_pinned(const Context& context, std::size_t bytes, const std::string& object) {
  void* const data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (data == MAP_FAILED) throw SystemError(errno, object + ": mmap of " + std::to_string(bytes) + " bytes failed");
  const BesideCaptures beside;
  const CurrentContext current(context.handle());
  try {
    check_cuda(driver().cuMemHostRegister(data, bytes, CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP),
               "cuMemHostRegister", object, "raise the limit of locked memory (ulimit -l unlimited)");
    check_same_address(data, object);
  } catch (...) {
    ::munmap(data, bytes);
    throw;
  }
  return data;
}

}  // namespace

void check_same_address(void* data, const std::string& object) {
  CUdeviceptr device = 0;
  check_cuda(driver().cuMemHostGetDevicePointer(&device, data, 0), "cuMemHostGetDevicePointer", object);
  if (device != reinterpret_cast<CUdeviceptr>(data)) {
    throw BackendError(object +
                       ": this GPU reaches pinned memory at other addresses than the CPU; it is not supported");
  }
}

HostBlock::HostBlock(const Context& context, std::size_t bytes, const std::string& object)
    : context_(context), bytes_((bytes + kPageBytes - 1) / kPageBytes * kPageBytes) {
  const auto spare = spares().take(context_, bytes_);
  data_ = spare ? *spare : map_pinned(context_, bytes_, object);
  std::memset(data_, 0, bytes_);
}

HostBlock::~HostBlock() { spares().keep(context_, bytes_, data_); }

}  // namespace ipcq::detail
