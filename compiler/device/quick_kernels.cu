// The kernels of both executors for a handler that is not known yet. ipcq-compiler carries them, compiled and not yet
// linked, and links a user's handler to them: some milliseconds, where compiling both as one takes more than a second.
#include "quick_call.cuh"

namespace ipcq::device {

template <>
__device__ inline CallResult call_for_lines<ipcq_compiler::QuickHandler>(const LaneLine& l, bool mine,
                                                                         std::uint8_t (*buffer)[kInlineBuffer]) {
  return ipcq_quick_lines(&l, mine, buffer);
}
template <>
__device__ inline CallResult call_for_slot<ipcq_compiler::QuickHandler>(const QueueView& q, const SlotMessage& s,
                                                                        const Team& team) {
  return ipcq_quick_slot(&q, &s, &team);
}

}  // namespace ipcq::device

#include "device/executors.cuh"

IPCQ_EXECUTOR_KERNELS(user, ipcq_compiler::QuickHandler)
