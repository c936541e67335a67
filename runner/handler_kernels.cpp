#include "handler_kernels.hpp"

#include <utility>

extern "C" const unsigned char ipcq_executor_kernels[];  // NOLINT(readability-identifier-naming): an assembler's name

namespace ipcq::runner {

using detail::check_cuda;
using detail::CurrentContext;
using detail::driver;

namespace {

// What a handler was compiled with, as the compiler names it in the image (cmake/IpcqDeviceCode.cmake).
constexpr const char* kDeviceCode = "ipcq_device_code_" IPCQ_DEVICE_CODE;

}  // namespace

Module::Module(const Gpu& gpu, const void* image, const std::string& object, const std::string& hint) : gpu_(gpu) {
  const CurrentContext current(gpu.context());
  check_cuda(driver().cuModuleLoadData(&module_, image), "cuModuleLoadData", object, hint.c_str());
}

Module::~Module() {
  try {
    const CurrentContext current(gpu_.context());
    driver().cuModuleUnload(module_);
  } catch (const Error&) {  // the context is lost, and what it had loaded
  }
}

Kernels Module::kernels(const std::string& suffix) const {
  const CurrentContext current(gpu_.context());
  const auto find = [&](const char* what) {
    const std::string name = std::string("ipcq_") + what + "_" + suffix;
    CUfunction f = nullptr;
    check_cuda(driver().cuModuleGetFunction(&f, module_, name.c_str()), "cuModuleGetFunction", "kernel " + name);
    return f;
  };
  return {find("persistent"), find("message"), find("finish"), find("inlined")};
}

bool Module::has_global(const char* name) const {
  const CurrentContext current(gpu_.context());
  CUdeviceptr address = 0;
  std::size_t bytes = 0;
  return driver().cuModuleGetGlobal(&address, &bytes, module_, name) == CUDA_SUCCESS;
}

HandlerKernels::HandlerKernels(std::shared_ptr<const Module> builtin, const std::string& name)
    : module_(std::move(builtin)), kernels_(module_->kernels(name)) {}

HandlerKernels::HandlerKernels(const Gpu& gpu, const std::string& image, const std::string& label) {
  const std::string object = "handler '" + label + "' on " + gpu.object() + " (" + gpu.name() + ")";
  auto module = std::make_shared<const Module>(gpu, image.data(), object,
                                               "its image is damaged, or for another GPU; compile it again");
  if (!module->has_global(kDeviceCode)) {
    throw BackendError(object +
                       ": was compiled by an ipcq-compiler of another build than this ipcq-runner; install both "
                       "of one release");
  }
  kernels_ = module->kernels("user");
  module_ = std::move(module);
}

std::shared_ptr<const Module> load_builtin_handlers(const Gpu& gpu) {
  return std::make_shared<const Module>(gpu, ipcq_executor_kernels, gpu.object() + " (" + gpu.name() + ")",
                                        "rebuild with -DIPCQ_CUDA_ARCHITECTURES for this GPU");
}

}  // namespace ipcq::runner
