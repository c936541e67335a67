// How the classes are bound whose elements Python sees without a copy: the buffer protocol's slots, DLPack, NumPy.
#pragma once

#include <nanobind/nanobind.h>

#include "buffer.hpp"
#include "dlpack.hpp"

namespace ipcq::python {

// For nb::type_slots: Object::get_buffer(view, self, flags) and Object::release_buffer() are called.
template <class Object>
PyType_Slot* buffer_slots() {
  // NOLINTNEXTLINE(cppcoreguidelines-avoid-c-arrays): as nanobind takes them
  static PyType_Slot slots[] = {
      {Py_bf_getbuffer, reinterpret_cast<void*>(+[](PyObject* self, Py_buffer* view, int flags) noexcept {
         if (!nb::inst_ready(self)) return refuse_buffer(view, "the object was never made: its __init__ has not run");
         return nb::inst_ptr<Object>(self)->get_buffer(view, self, flags);
       })},
      {Py_bf_releasebuffer, reinterpret_cast<void*>(+[](PyObject* self, Py_buffer*) noexcept {
         nb::inst_ptr<Object>(self)->release_buffer();
       })},
      {0, nullptr}};
  return slots;  // NOLINT(cppcoreguidelines-pro-bounds-array-to-pointer-decay): as above
}

// A view for the time of a call that lets the GIL go: begun here, ended by release_buffer().
template <class Object>
class ViewGuard {
 public:
  explicit ViewGuard(Object& of) noexcept : of_(of) { of_.begin_view(); }
  ViewGuard(const ViewGuard&) = delete;
  ViewGuard& operator=(const ViewGuard&) = delete;
  ~ViewGuard() { of_.release_buffer(); }

 private:
  Object& of_;
};

// Binds `__dlpack__` to to_dlpack(object, self, stream, request), and `__dlpack_device__` to the (type, id) that
// device_of(object) returns.
template <class Object, class Class, class ToDlpack, class DeviceOf>
void bind_dlpack(Class& of, ToDlpack to_dlpack, DeviceOf device_of, const char* doc = "") {
  of.def(
        "__dlpack__",
        [to_dlpack](nb::handle self, nb::handle stream, nb::handle max_version, nb::handle dl_device, nb::handle copy) {
          return to_dlpack(nb::cast<Object&>(self), self, stream, DlpackRequest{max_version, dl_device, copy});
        },
        nb::kw_only(), nb::arg("stream").none() = nb::none(), nb::arg("max_version").none() = nb::none(),
        nb::arg("dl_device").none() = nb::none(), nb::arg("copy").none() = nb::none(), nb::sig(kDlpackSignature), doc)
      .def(
          "__dlpack_device__",
          [device_of](const Object& self) {
            const dlpack::Device device = device_of(self);
            return nb::make_tuple(static_cast<int>(device.type), device.id);
          },
          nb::sig("def __dlpack_device__(self) -> tuple[int, int]"));
}

// The same of what is in host memory, which has no stream; and `__array__`.
template <class Object, class Class>
void bind_host_arrays(Class& of) {
  bind_dlpack<Object>(
      of,
      [](Object& object, nb::handle self, nb::handle, const DlpackRequest& request) {
        return object.to_dlpack(self, request);
      },
      [](const Object&) { return dlpack::Device{}; });
  of.def("__array__", array_of, nb::arg("dtype").none() = nb::none(), nb::arg("copy").none() = nb::none(),
         nb::sig("def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any"));
}

}  // namespace ipcq::python
