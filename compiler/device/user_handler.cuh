// After the user's file, for a GPU: checks the handler, and has its place in VRAM and what sets its parameters.
#pragma once

#include "device/call.cuh"

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

namespace ipcq_compiler {

// IpcqLooped: the handler that the image's kernels were compiled for, the user's or one that stands for it.
template <class IpcqLooped>
__device__ void configure(ipcq::detail::HandlerArgument* ipcq_arguments, std::uint32_t ipcq_count,
                          ipcq::detail::HandlerReport* ipcq_report, unsigned char* ipcq_made) {
  static_assert(sizeof(Chosen) <= ipcq::detail::kMostHandlerBytes, "a handler has at most 4096 bytes");
  static_assert(alignof(Chosen) <= 16, "a handler is aligned to 16 bytes at most");
  Chosen ipcq_handler{};
  ipcq::detail::ParameterSetter ipcq_setter(ipcq_arguments, ipcq_count, *ipcq_report);
  Visit()(ipcq_handler, ipcq_setter);
  ipcq_setter.finish<Chosen, TeamOf<Chosen>>();
  std::memcpy(ipcq_made, &ipcq_handler, sizeof ipcq_handler);
  ipcq_report->bytes = sizeof ipcq_handler;
  ipcq_report->serial = ipcq::device::kIsSerial<IpcqLooped> ? 1 : 0;
  ipcq_report->traits = (ipcq::device::kIsPlain<IpcqLooped> ? 0 : ipcq::detail::kNotPlain) |
                        (ipcq::device::kIsForOneBlock<IpcqLooped> ? ipcq::detail::kForOneBlock : 0);
}

}  // namespace ipcq_compiler

// By one thread. `made`: kMostHandlerBytes.
#define IPCQ_CONFIGURE_KERNEL(ipcq_looped)                                                                           \
  extern "C" __global__ void ipcq_configure_user(ipcq::detail::HandlerArgument* ipcq_arguments,                      \
                                                 std::uint32_t ipcq_count, ipcq::detail::HandlerReport* ipcq_report, \
                                                 unsigned char* ipcq_made) {                                         \
    ipcq_compiler::configure<ipcq_looped>(ipcq_arguments, ipcq_count, ipcq_report, ipcq_made);                       \
  }
