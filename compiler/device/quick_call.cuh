// Between kernels that were compiled before any handler was known and the handler that is linked to them: the quick way
// to an image. Both are compiled with this: the kernels for QuickHandler, the handler as what the two functions call.
#pragma once

// Else it is in both functions below, and compiling takes 5 to 30 % longer (H200, CUDA 13.0).
#define IPCQ_CALL_OF_HANDLER IPCQ_NOINLINE
#include "device/call.cuh"

extern "C" {
// As call_for_lines() and call_for_slot() of the handler.
__device__ ipcq::device::CallResult ipcq_quick_lines(const ipcq::device::LaneLine* ipcq_line, bool ipcq_mine,
                                                     std::uint8_t (*ipcq_buffer)[ipcq::device::kInlineBuffer]);
__device__ ipcq::device::CallResult ipcq_quick_slot(const ipcq::device::QueueView* ipcq_q,
                                                    const ipcq::device::SlotMessage* ipcq_message,
                                                    const ipcq::detail::Team* ipcq_team);
}

namespace ipcq_compiler {

// Stands in the kernels for every handler, so it promises what holds for all: a message in a slot is for one block,
// messages come one at a time, and each has a result.
struct QuickHandler {
  static constexpr ipcq::Sharing sharing = ipcq::Sharing::block;
  template <class IpcqTeam>
  __device__ void operator()(ipcq::HandlerMessage&, IpcqTeam, ipcq::State) const {}
};
static_assert(ipcq::device::kIsForOneBlock<QuickHandler> && ipcq::device::kIsSerial<QuickHandler> &&
              !ipcq::device::kIsPlain<QuickHandler>);

}  // namespace ipcq_compiler
