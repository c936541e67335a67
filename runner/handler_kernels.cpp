#include "handler_kernels.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "layout/handler_text.hpp"

extern "C" const unsigned char ipcq_executor_kernels[];  // NOLINT(readability-identifier-naming): an assembler's name

namespace ipcq::runner {

using detail::check_cuda;
using detail::CurrentContext;
using detail::driver;
using detail::HandlerArgument;
using detail::HandlerReport;
using detail::kMostArguments;
using detail::kMostHandlerBytes;

namespace {

// What a handler was compiled with, as the compiler names it in the image (cmake/IpcqDeviceCode.cmake).
constexpr const char* kDeviceCode = "ipcq_device_code_" IPCQ_DEVICE_CODE;

// What the kernel that makes a handler reads and writes.
struct Configuration {
  HandlerArgument arguments[kMostArguments];
  HandlerReport report;
  unsigned char handler[kMostHandlerBytes];
};

// Has a kernel make the handler, and copies it to where the other kernels find it. Returns its HandlerReport::traits.
std::uint32_t set_arguments(const Gpu& gpu, const Module& module, const std::string& object, const std::string& text) {
  std::vector<HandlerArgument> all = detail::parse_arguments(object, text);
  const PinnedHost<Configuration> made(gpu, object);
  std::copy(all.begin(), all.end(), made->arguments);
  Configuration* const there = gpu.address(made.get());
  HandlerArgument* arguments = there->arguments;
  auto count = static_cast<std::uint32_t>(all.size());
  HandlerReport* report = &there->report;
  unsigned char* handler = there->handler;
  void* parameters[] = {&arguments, &count, &report, &handler};
  const Stream stream(gpu, object);
  const CurrentContext current(gpu.context());
  const auto& cu = driver();
  check_cuda(
      cu.cuLaunchKernel(module.kernel("ipcq_configure_user"), 1, 1, 1, 1, 1, 1, 0, stream.get(), parameters, nullptr),
      "cuLaunchKernel", object);
  check_cuda(cu.cuStreamSynchronize(stream.get()), "cuStreamSynchronize", object, "its constructor failed");
  if (made->report.problem != detail::ArgumentProblem::none)
    throw UsageError(object + ": " + text_of(made->report, all));
  std::size_t bytes = 0;
  const CUdeviceptr place = module.global("ipcq_handler_user", bytes);
  if (place == 0) return made->report.traits;  // it has no parameters, and no kernel looks at it
  check_cuda(cu.cuMemcpyHtoDAsync(place, made->handler, std::min<std::size_t>(bytes, made->report.bytes), stream.get()),
             "cuMemcpyHtoD", object);
  check_cuda(cu.cuStreamSynchronize(stream.get()), "cuStreamSynchronize", object);
  return made->report.traits;
}

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

CUfunction Module::kernel(const std::string& name) const {
  const CurrentContext current(gpu_.context());
  CUfunction f = nullptr;
  check_cuda(driver().cuModuleGetFunction(&f, module_, name.c_str()), "cuModuleGetFunction", "kernel " + name);
  return f;
}

Kernels Module::kernels(const std::string& suffix) const {
  const auto find = [&](const char* what) { return kernel(std::string("ipcq_") + what + "_" + suffix); };
  return {find("persistent"), find("message"), find("finish"), find("inlined")};
}

CUdeviceptr Module::global(const char* name, std::size_t& bytes) const {
  const CurrentContext current(gpu_.context());
  CUdeviceptr address = 0;
  return driver().cuModuleGetGlobal(&address, &bytes, module_, name) == CUDA_SUCCESS ? address : 0;
}

HandlerKernels::HandlerKernels(std::shared_ptr<const Module> builtin, const std::string& name)
    : module_(std::move(builtin)), kernels_(module_->kernels(name)) {}

HandlerKernels::HandlerKernels(const Gpu& gpu, const std::string& image, const std::string& label,
                               const std::string& arguments) {
  const std::string object = "handler '" + label + "' on " + gpu.object() + " (" + gpu.name() + ")";
  auto module = std::make_shared<const Module>(gpu, image.data(), object,
                                               "its image is damaged, or for another GPU; compile it again");
  std::size_t unused = 0;
  if (module->global(kDeviceCode, unused) == 0) {
    throw BackendError(object +
                       ": was compiled by an ipcq-compiler of another build than this ipcq-runner; install both "
                       "of one release");
  }
  const std::uint32_t traits = set_arguments(gpu, *module, object, arguments);
  kernels_ = module->kernels("user");
  kernels_.plain = (traits & detail::kNotPlain) == 0;
  kernels_.one_block = (traits & detail::kForOneBlock) != 0;
  module_ = std::move(module);
}

std::shared_ptr<const Module> load_builtin_handlers(const Gpu& gpu) {
  return std::make_shared<const Module>(gpu, ipcq_executor_kernels, gpu.object() + " (" + gpu.name() + ")",
                                        "rebuild with -DIPCQ_CUDA_ARCHITECTURES for this GPU");
}

}  // namespace ipcq::runner
