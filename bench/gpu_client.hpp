// A process of gpu_bench that uses the GPU by itself: context and streams.
#pragma once

#include "driver.hpp"

namespace ipcq::bench {

// Makes GPU 0's primary context current in this thread.
inline CUcontext use_gpu() {
  const auto& cu = detail::driver();
  CUdevice device = 0;
  CUcontext context = nullptr;
  detail::check_cuda(cu.cuDeviceGet(&device, 0), "cuDeviceGet", "GPU 0");
  detail::check_cuda(cu.cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain", "GPU 0");
  detail::check_cuda(cu.cuCtxSetCurrent(context), "cuCtxSetCurrent", "GPU 0");
  return context;
}

inline CUstream make_stream() {
  CUstream s = nullptr;
  detail::check_cuda(detail::driver().cuStreamCreateWithPriority(&s, CU_STREAM_NON_BLOCKING, 0), "cuStreamCreate",
                     "GPU 0");
  return s;
}

inline void synchronize(CUstream s) {
  detail::check_cuda(detail::driver().cuStreamSynchronize(s), "cuStreamSynchronize", "gpu_bench");
}

}  // namespace ipcq::bench
