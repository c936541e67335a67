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

// Copies to a variable of the module, if the kernels have it: one that none of them reads is left out.
void set_global(const Module& module, const char* name, const void* from, std::size_t bytes, const Stream& stream,
                const std::string& object) {
  std::size_t room = 0;
  const CUdeviceptr place = module.global(name, room);
  if (place == 0) return;
  check_cuda(driver().cuMemcpyHtoDAsync(place, from, std::min(room, bytes), stream.get()), "cuMemcpyHtoD", object);
  check_cuda(driver().cuStreamSynchronize(stream.get()), "cuStreamSynchronize", object);
}

// Has a kernel make the handler, and copies it, and its queue's state, to where the other kernels find them. Returns
// what the handler is.
HandlerReport configure(const Gpu& gpu, const Module& module, const std::string& object, const std::string& text,
                        const State& state) {
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
  check_state(made->report, state.bytes, object);
  set_global(module, "ipcq_handler_user", made->handler, made->report.bytes, stream, object);
  set_global(module, "ipcq_state_user", &state, sizeof state, stream, object);
  return made->report;
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
                               const std::string& arguments, State state) {
  const std::string object = "handler '" + label + "' on " + gpu.object() + " (" + gpu.name() + ")";
  auto module = std::make_shared<const Module>(gpu, image.data(), object,
                                               "its image is damaged, or for another GPU; compile it again");
  std::size_t unused = 0;
  if (module->global(kDeviceCode, unused) == 0) {
    throw BackendError(object +
                       ": was compiled by an ipcq-compiler of another build than this ipcq-runner; install both "
                       "of one release");
  }
  const HandlerReport report = configure(gpu, *module, object, arguments, state);
  is_serial_ = report.serial != 0;
  kernels_ = module->kernels("user");
  kernels_.plain = (report.traits & detail::kNotPlain) == 0;
  kernels_.one_block = (report.traits & detail::kForOneBlock) != 0;
  module_ = std::move(module);
}

std::shared_ptr<const Module> load_builtin_handlers(const Gpu& gpu) {
  return std::make_shared<const Module>(gpu, ipcq_executor_kernels, gpu.object() + " (" + gpu.name() + ")",
                                        "rebuild with -DIPCQ_CUDA_ARCHITECTURES for this GPU");
}

}  // namespace ipcq::runner
