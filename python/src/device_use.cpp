#include "device_use.hpp"

#include <algorithm>
#include <ipcq/error.hpp>
#include <string>

#include "driver.hpp"

namespace ipcq::python {
namespace {

using ipcq::detail::check_cuda;
using ipcq::detail::driver;

CUstream of_number(std::uintptr_t number) noexcept {
  // The legacy default stream has two names; the library takes the null one.
  return number <= 1 ? nullptr : reinterpret_cast<CUstream>(number);  // NOLINT(performance-no-int-to-ptr): a handle
}

std::uintptr_t handle_of(nb::handle number) {
  std::uintptr_t handle = 0;
  if (!nb::try_cast(number, handle)) throw nb::type_error("stream: its handle is no number of an address' size");
  return handle;
}

}  // namespace

CUstream parse_stream(nb::handle stream) {
  if (stream.is_none()) return nullptr;
  if (nb::isinstance<nb::int_>(stream)) return of_number(handle_of(stream));
  if (nb::hasattr(stream, "cuda_stream")) return of_number(handle_of(stream.attr("cuda_stream")));
  if (nb::hasattr(stream, "__cuda_stream__"))  // cuda.core: (version, handle)
    return of_number(handle_of(stream.attr("__cuda_stream__")()[1]));
  if (nb::hasattr(stream, "ptr")) return of_number(handle_of(stream.attr("ptr")));
  if (nb::hasattr(stream, "handle")) {  // Numba's: a ctypes pointer
    const nb::object handle = stream.attr("handle");
    const nb::object value = nb::hasattr(handle, "value") ? nb::object(handle.attr("value")) : handle;
    return value.is_none() ? nullptr : of_number(handle_of(value));
  }
  throw nb::type_error("stream: pass a stream of PyTorch, CuPy, Numba or cuda.core, its handle as a number, or None");
}

CUstream parse_dlpack_stream(nb::handle stream, bool& no_order) {
  no_order = false;
  if (stream.is_none()) return nullptr;
  std::intptr_t number = 0;
  if (!nb::try_cast(stream, number)) throw nb::type_error("stream: a number, or None");
  if (number == 0) throw nb::value_error("stream: 0 is ambiguous; DLPack names the legacy default stream 1");
  no_order = number < 0;
  return no_order ? nullptr : of_number(static_cast<std::uintptr_t>(number));
}

std::uintptr_t stream_number(CUstream stream) noexcept {
  return stream == nullptr ? 1 : reinterpret_cast<std::uintptr_t>(stream);
}

void ensure_context(int device) {
  CUcontext context = nullptr;
  const auto& cu = driver();
  check_cuda(cu.cuCtxGetCurrent(&context), "cuCtxGetCurrent", "GPU");
  if (context != nullptr) return;
  CUdevice handle = 0;
  check_cuda(cu.cuDeviceGet(&handle, device), "cuDeviceGet", "GPU " + std::to_string(device));
  check_cuda(cu.cuDevicePrimaryCtxRetain(&context, handle), "cuDevicePrimaryCtxRetain",
             "GPU " + std::to_string(device));
  check_cuda(cu.cuCtxSetCurrent(context), "cuCtxSetCurrent", "GPU " + std::to_string(device));
}

StreamOrder::~StreamOrder() {
  if (event_ == nullptr) return;
  const ipcq::detail::Context context(context_, "GPU");
  if (context.is_alive()) (void)driver().cuEventDestroy(event_);
}

void StreamOrder::prepare() {
  if (event_ != nullptr) return;
  const auto& cu = driver();
  check_cuda(cu.cuCtxGetCurrent(&context_), "cuCtxGetCurrent", "GPU");
  CUdevice device = 0;
  check_cuda(cu.cuCtxGetDevice(&device), "cuCtxGetDevice", "GPU");
  device_ = device;
  check_cuda(cu.cuEventCreate(&event_, CU_EVENT_DISABLE_TIMING), "cuEventCreate", "GPU");
}

void StreamOrder::order(CUstream before, CUstream behind) {
  if (before == behind) return;
  const auto& cu = driver();
  const ipcq::detail::CurrentContext current(context_);
  check_cuda(cu.cuEventRecord(event_, before), "cuEventRecord", "a stream that uses a payload");
  check_cuda(cu.cuStreamWaitEvent(behind, event_, 0), "cuStreamWaitEvent", "a stream that uses a payload");
}

void DeviceUse::begin_on(CUstream other, StreamOrder& order) {
  if (other == stream_) return;
  order.order(stream_, other);
  if (std::find(others_.begin(), others_.end(), other) == others_.end()) others_.push_back(other);
}

void DeviceUse::finish(StreamOrder& order) {
  for (const CUstream other : others_) order.order(other, stream_);
  others_.clear();
}

}  // namespace ipcq::python
