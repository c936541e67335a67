// DLPack: how arrays pass between libraries without a copy (the specification of version 1.x; its structs are an ABI).
// What an object of this package exports keeps the object, and counts as one of its views until its consumer is done.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <ipcq/tensor.hpp>

#include "array_layout.hpp"

namespace ipcq::python {

namespace dlpack {

enum DeviceType : std::int32_t { kCpu = 1, kCuda = 2 };
struct Device {
  std::int32_t type = kCpu;
  std::int32_t id = 0;
};
struct Tensor {
  void* data;
  Device device;
  std::int32_t ndim;
  DType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements
  std::uint64_t byte_offset;
};
static_assert(sizeof(Tensor) == 48);
struct ManagedTensor {
  Tensor tensor;
  void* context;
  void (*deleter)(ManagedTensor*);
};
static_assert(sizeof(ManagedTensor) == 64);
inline constexpr std::uint64_t kReadOnly = 1;
struct ManagedTensorVersioned {
  std::uint32_t major, minor;
  void* context;
  void (*deleter)(ManagedTensorVersioned*);
  std::uint64_t flags;
  Tensor tensor;
};
static_assert(sizeof(ManagedTensorVersioned) == 80);

}  // namespace dlpack

// For stubs.
inline constexpr const char* kDlpackSignature =
    "def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None, "
    "dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> CapsuleType";

// The arguments of __dlpack__ but for its stream.
struct DlpackRequest {
  nb::handle max_version;  // None, or (major, minor)
  nb::handle dl_device;    // None, or (type, id)
  nb::handle copy;         // None, True or False
};

// A capsule with a view of `owner`'s elements, from `data` on. `release(owner)` is called once, with the GIL, when its
// consumer is done, from any thread. Throws BufferError for what the request asks and this cannot do: another device, a
// copy.
nb::object export_dlpack(nb::handle owner, void (*release)(PyObject* owner), void* data, const ArrayLayout& layout,
                         dlpack::Device device, bool read_only, const DlpackRequest& request);

}  // namespace ipcq::python
