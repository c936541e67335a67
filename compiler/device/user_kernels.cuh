// After the user's file, for a GPU: checks the handler and makes the kernels of both executors, ipcq_<what>_user.
#pragma once

#include "device/executors.cuh"

namespace ipcq_compiler {
template <class IpcqH>
using TeamOf = ipcq::device::TeamOf<IpcqH>;
}
#include "device/named_handler.hpp"

// The queue's handler: written by its runner, once, with what the kernel below has made of the arguments.
extern "C" {
__constant__ __align__(16) unsigned char ipcq_handler_user[sizeof(ipcq_compiler::Chosen)];
__constant__ ipcq::State ipcq_state_user;  // written likewise, where the queue has state
}
namespace ipcq::device {
template <>
struct Instance<ipcq_compiler::Chosen> {
  __device__ static const ipcq_compiler::Chosen& get() {
    return *reinterpret_cast<const ipcq_compiler::Chosen*>(ipcq_handler_user);
  }
  __device__ static State state() { return ipcq_state_user; }
};
}  // namespace ipcq::device

// By one thread. `made`: kMostHandlerBytes.
extern "C" __global__ void ipcq_configure_user(ipcq::detail::HandlerArgument* ipcq_arguments, std::uint32_t ipcq_count,
                                               ipcq::detail::HandlerReport* ipcq_report, unsigned char* ipcq_made) {
  static_assert(sizeof(ipcq_compiler::Chosen) <= ipcq::detail::kMostHandlerBytes, "a handler has at most 4096 bytes");
  static_assert(alignof(ipcq_compiler::Chosen) <= 16, "a handler is aligned to 16 bytes at most");
  ipcq_compiler::Chosen ipcq_handler{};
  ipcq::detail::ParameterSetter ipcq_setter(ipcq_arguments, ipcq_count, *ipcq_report);
  ipcq_compiler::Visit()(ipcq_handler, ipcq_setter);
  ipcq_setter.finish<ipcq_compiler::Chosen, ipcq_compiler::TeamOf<ipcq_compiler::Chosen>>();
  std::memcpy(ipcq_made, &ipcq_handler, sizeof ipcq_handler);
  ipcq_report->bytes = sizeof ipcq_handler;
  ipcq_report->traits = (ipcq::device::kIsPlain<ipcq_compiler::Chosen> ? 0 : ipcq::detail::kNotPlain) |
                        (ipcq::device::kIsForOneBlock<ipcq_compiler::Chosen> ? ipcq::detail::kForOneBlock : 0);
}

IPCQ_EXECUTOR_KERNELS(user, ipcq_compiler::Chosen)
