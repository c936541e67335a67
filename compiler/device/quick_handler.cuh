// After the user's file, for the quick way: the handler, and the functions by which the kernels call it.
#pragma once

#include "device/quick_call.cuh"
#include "device/user_handler.cuh"

extern "C" {

__device__ ipcq::device::CallResult ipcq_quick_lines(const ipcq::device::LaneLine* ipcq_line, bool ipcq_mine,
                                                     std::uint8_t (*ipcq_buffer)[ipcq::device::kInlineBuffer]) {
  return ipcq::device::call_for_lines<ipcq_compiler::Chosen>(*ipcq_line, ipcq_mine, ipcq_buffer);
}
__device__ ipcq::device::CallResult ipcq_quick_slot(const ipcq::device::QueueView* ipcq_q,
                                                    const ipcq::device::SlotMessage* ipcq_message,
                                                    const ipcq::detail::Team* ipcq_team) {
  return ipcq::device::call_for_slot<ipcq_compiler::Chosen>(*ipcq_q, *ipcq_message, *ipcq_team);
}

}  // extern "C"

IPCQ_CONFIGURE_KERNEL(ipcq_compiler::QuickHandler)
