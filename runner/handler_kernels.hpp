// The kernels of one handler: of the module that the runner brings, or of an image that was compiled from a user's
// file.
//
// Immutable, so thread-safe. Constructed and destroyed while no persistent kernel is on the GPU: the driver loads and
// unloads modules behind the kernels that run. Must not outlive its Gpu.
#pragma once

#include <memory>
#include <string>

#include "gpu.hpp"
#include "ipcq/handler.hpp"

namespace ipcq::runner {

struct Kernels {
  CUfunction persistent = nullptr;
  CUfunction message = nullptr;
  CUfunction finish = nullptr;
  CUfunction inlined = nullptr;
  // Of a user's handler: one that is not plain changes lengths, which the kernels alone know (cuda/device/call.cuh).
  bool plain = true;
  bool one_block = false;  // for a message, however long it is
};

// One module on a GPU, unloaded in the end.
class Module {
 public:
  // `image`: a cubin or a fat binary. `object`, `hint`: for the error where the driver does not take it.
  Module(const Gpu& gpu, const void* image, const std::string& object, const std::string& hint);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // The kernels ipcq_<what>_`suffix`. Throws BackendError where one is missing.
  Kernels kernels(const std::string& suffix) const;
  // The address of a variable, and its size; 0: there is none of that name.
  CUdeviceptr global(const char* name, std::size_t& bytes) const;
  CUfunction kernel(const std::string& name) const;

 private:
  const Gpu& gpu_;
  CUmodule module_ = nullptr;
};

class HandlerKernels {
 public:
  // A built-in one, of the module with all of them.
  HandlerKernels(std::shared_ptr<const Module> builtin, const std::string& name);
  // One of the user's. `label`: what its file is called. `state`: of its queue, with no bytes if that has none; must
  // outlive the kernels' work. Throws BackendError: the image is of another release's compiler, of another GPU, or
  // damaged; UsageError: the handler does not take these arguments, or the queue has no state that it takes, or some
  // that it does not.
  HandlerKernels(const Gpu& gpu, const std::string& image, const std::string& label, const std::string& arguments,
                 State state);
  const Kernels& kernels() const noexcept { return kernels_; }
  // Whether messages are handled one at a time, in their order (ipcq/handler.hpp).
  bool is_serial() const noexcept { return is_serial_; }

 private:
  std::shared_ptr<const Module> module_;
  Kernels kernels_;
  bool is_serial_ = false;
};

// The module with the built-in handlers' kernels. Throws BackendError where there is none for this GPU.
std::shared_ptr<const Module> load_builtin_handlers(const Gpu& gpu);

}  // namespace ipcq::runner
