// GpuDevice: what a program uses of one GPU: the primary context, a stream, and the kernels of frames.cu.
//
// For the thread that constructs it, in which its context is current from then on. It must outlive the endpoints whose
// messages are on its stream. In a build without CUDA the constructor throws.
#pragma once

#include <ipcq/cuda.hpp>

struct CUctx_st;
struct CUfunc_st;
struct CUmod_st;

namespace ipcq::program {

#if IPCQ_WITH_CUDA
inline constexpr bool kWithCuda = true;
#else
inline constexpr bool kWithCuda = false;
#endif

class GpuDevice {
 public:
  // `ordinal`: as CUDA counts GPUs. Throws BackendError: no driver, no such GPU, or no context can be made.
  explicit GpuDevice(int ordinal);
  ~GpuDevice();  // NOLINT(performance-trivially-destructible): of the build without CUDA alone
  GpuDevice(const GpuDevice&) = delete;
  GpuDevice& operator=(const GpuDevice&) = delete;

  int ordinal() const noexcept { return ordinal_; }
  cuda::Stream stream() const noexcept { return stream_; }

  // A kernel of frames.cu, and how many of its blocks the GPU holds at once.
  struct Kernel {
    CUfunc_st* function = nullptr;
    unsigned blocks = 0;
  };
  Kernel kernel(const char* name) const;
  // Enqueues it over all its blocks; `arguments` are the addresses of its parameters.
  void launch(const Kernel& kernel, void** arguments) const;

  // Waits until the stream has finished all that was enqueued. Throws BackendError if any of it failed.
  void finish() const;

 private:
  void release() noexcept;

  int ordinal_;
  int device_ = -1;  // CUdevice, once its context is retained
  CUctx_st* context_ = nullptr;
  cuda::Stream stream_ = nullptr;
  CUmod_st* module_ = nullptr;
};

}  // namespace ipcq::program
