// The project's kernels, compiled for the CPU.
#include "kernels.hpp"

#include <map>

#include "language.hpp"
// What is written in it.
#include "cuda_clients/kernels.cu"
#include "device/deliver.cu"
#include "device/executors.cu"

namespace soft_gpu {
namespace {

const std::map<std::string, Kernel>& all() {
  static const std::map<std::string, Kernel> kernels{
      IPCQ_KERNELS_OF(identity),
      IPCQ_KERNELS_OF(invert),
      IPCQ_KERNELS_OF(upper),
      IPCQ_KERNELS_OF(vector_add),
      {"ipcq_deliver", make(ipcq_deliver)},
      {"fill", make(fill)},
      {"check", make(check)},
      {"check_header", make(check_header)},
      {"check_payload", make(check_payload)},
      {"fill_tensor", make(fill_tensor)},
      {"check_tensor", make(check_tensor)},
      {"scribble", make(scribble)},
      {"spin", make(spin)},
  };
  return kernels;
}

}  // namespace

const Kernel* find_kernel(const std::string& name) {
  const auto it = all().find(name);
  return it == all().end() ? nullptr : &it->second;
}

}  // namespace soft_gpu
