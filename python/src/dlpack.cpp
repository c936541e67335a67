#include "dlpack.hpp"

#include <array>
#include <string>
#include <utility>

#include "interpreter.hpp"

namespace ipcq::python {
namespace {

// What a capsule refers to. Its consumer's deleter destroys it.
struct Export {
  PyObject* owner;
  void (*release)(PyObject*);
  std::array<std::int64_t, ipcq::Tensor::kMostDimensions> shape{};
  std::array<std::int64_t, ipcq::Tensor::kMostDimensions> strides{};
  dlpack::ManagedTensor plain{};
  dlpack::ManagedTensorVersioned versioned{};
};

// From any thread, with the GIL or without it.
void end(Export* exported) noexcept {
  const MayTakeGil may;
  if (!may) return;  // what consumers are done with now is left alone
  const nb::gil_scoped_acquire gil;
  exported->release(exported->owner);
  Py_DECREF(exported->owner);
  delete exported;  // NOLINT(cppcoreguidelines-owning-memory): as the ABI has it
}

constexpr const char* kPlain = "dltensor";
constexpr const char* kVersioned = "dltensor_versioned";

// Of a capsule that nobody has consumed; one that was is named otherwise.
void drop_capsule(PyObject* capsule) noexcept {
  for (const char* const name : {kPlain, kVersioned}) {
    if (PyCapsule_IsValid(capsule, name) == 0) continue;
    void* const managed = PyCapsule_GetPointer(capsule, name);
    if (name == kPlain) {
      auto* const tensor = static_cast<dlpack::ManagedTensor*>(managed);
      tensor->deleter(tensor);
    } else {
      auto* const tensor = static_cast<dlpack::ManagedTensorVersioned*>(managed);
      tensor->deleter(tensor);
    }
  }
}

// Two numbers, as a tuple. Throws TypeError.
std::pair<std::int64_t, std::int64_t> pair_of(nb::handle of, const char* what) {
  std::pair<std::int64_t, std::int64_t> pair;
  nb::tuple both;
  if (!nb::try_cast(of, both) || both.size() != 2 || !nb::try_cast(both[0], pair.first) ||
      !nb::try_cast(both[1], pair.second))
    throw nb::type_error((std::string(what) + ": a tuple of two numbers, or None").c_str());
  return pair;
}

void check(const DlpackRequest& request, dlpack::Device device) {
  if (!request.dl_device.is_none()) {
    const auto [type, id] = pair_of(request.dl_device, "dl_device");
    if (type != device.type || id != device.id)
      throw nb::buffer_error("the payload is not on that device, and is not copied there: copy what you get");
  }
  if (!request.copy.is_none() && PyObject_IsTrue(request.copy.ptr()) == 1)
    throw nb::buffer_error("this is shown without a copy: copy what you get");
}

}  // namespace

nb::object export_dlpack(nb::handle owner, void (*release)(PyObject* owner), void* data, const ArrayLayout& layout,
                         dlpack::Device device, bool read_only, const DlpackRequest& request) {
  check(request, device);
  const bool is_versioned = !request.max_version.is_none() && pair_of(request.max_version, "max_version").first >= 1;
  auto* const exported = new Export{owner.ptr(), release};  // NOLINT(cppcoreguidelines-owning-memory): as above
  for (std::size_t d = 0; d < static_cast<std::size_t>(layout.ndim); ++d) {
    exported->shape[d] = layout.shape[d];
    exported->strides[d] = layout.strides[d] / static_cast<Py_ssize_t>(layout.dtype.bytes());
  }
  const dlpack::Tensor tensor{
      data, device, layout.ndim, layout.dtype, exported->shape.data(), exported->strides.data(), layout.at};
  void* managed = nullptr;
  if (is_versioned) {
    exported->versioned = {1,
                           0,
                           exported,
                           [](dlpack::ManagedTensorVersioned* t) { end(static_cast<Export*>(t->context)); },
                           read_only ? dlpack::kReadOnly : 0,
                           tensor};
    managed = &exported->versioned;
  } else {
    exported->plain = {tensor, exported, [](dlpack::ManagedTensor* t) { end(static_cast<Export*>(t->context)); }};
    managed = &exported->plain;
  }
  PyObject* const capsule = PyCapsule_New(managed, is_versioned ? kVersioned : kPlain, drop_capsule);
  if (capsule == nullptr) {
    delete exported;  // NOLINT(cppcoreguidelines-owning-memory): as above
    throw nb::python_error();
  }
  Py_INCREF(owner.ptr());
  return nb::steal(capsule);
}

}  // namespace ipcq::python
