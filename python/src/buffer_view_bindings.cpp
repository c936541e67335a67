#include "buffer_view_bindings.hpp"

#include <nanobind/stl/string.h>

#include <string>

#include "array_buffer.hpp"
#include "shown.hpp"

namespace ipcq::python {
namespace {

using namespace nb::literals;

const ArrayLayout& layout_of(const BufferView& view) {
  view.check_alive();
  return view.state().layout();
}

template <class View>
void bind_view(nb::class_<View>& of, const std::string& name) {
  of.def("__enter__",
         [](nb::object self) {
           nb::cast<View&>(self).check_alive();
           return self;
         })
      .def(
          "__exit__",
          [](View& self, nb::handle type, nb::handle, nb::handle) {
            if (type.is_none()) {
              self.release();
            } else {
              self.release_after_arrays();
            }
          },
          "type"_a.none(), "value"_a.none(), "traceback"_a.none(),
          "release(); where an exception leaves the block, at once or with the last array.")
      .def("release", &View::release,
           "Ends the view. Raises BufferError: arrays that were made of it are alive. Idempotent.")
      .def_prop_ro("held", &View::is_alive, "Whether arrays can be made of it.")
      .def_prop_ro("address", &View::address, "Of the array's first byte on this side.")
      .def_prop_ro(
          "shape", [](const View& self) { return shape_of(layout_of(self)); },
          nb::sig("def shape(self) -> tuple[int, ...]"), "Of the array.")
      .def_prop_ro(
          "dtype", [](const View& self) { return name_of(layout_of(self).dtype); },
          "Type of its elements, such as 'float32'.")
      .def_prop_ro(
          "nbytes", [](const View& self) { return layout_of(self).bytes(); }, "Bytes of its elements.")
      .def("__repr__", [name](const View& self) {
        const std::string text = "<ipcq." + name;
        if (!self.is_alive()) return text + ", ended>";
        return text + " of " + self.state().where() + (self.writes() ? ", writing>" : ", reading>");
      });
}

}  // namespace

void bind_buffer_views(nb::module_& m) {
  auto host = nb::class_<HostView>(
      m, "HostView", nb::type_slots(buffer_slots<HostView>()), nb::is_final(),
      "The host side of a Buffer, while you read or write it: numpy.asarray(view), memoryview(view),\n"
      "torch.from_dlpack(view). It ends by release(), its `with`, or when Python drops it.");
  bind_host_arrays<HostView>(host);
  bind_view(host, "HostView");
  auto device = nb::class_<DeviceView>(
      m, "DeviceView", nb::is_final(),
      "The device side of a Buffer, for the work of one stream: torch.from_dlpack(view), cupy.asarray(view). It ends\n"
      "as a HostView does, and what uses the buffer then comes behind that work. Of a buffer in host memory it shows\n"
      "that, by DLPack.");
  bind_dlpack<DeviceView>(
      device,
      [](DeviceView& view, nb::handle self, nb::handle stream, const DlpackRequest& request) {
        return view.to_dlpack(self, stream, request);
      },
      [](const DeviceView& view) {
        view.check_alive();
        return view.state().memory().dlpack_device();
      },
      "For torch.from_dlpack() and its kin. Work on `stream` comes behind what the view's own stream has now, and the\n"
      "view's end behind that work.");
  device.def_prop_ro("__cuda_array_interface__", &DeviceView::array_interface,
                     nb::sig("def __cuda_array_interface__(self) -> dict[str, object]"),
                     "Version 3, for cupy.asarray() and numba.cuda.as_cuda_array(). Nobody counts these arrays: use\n"
                     "them on the view's stream, and drop them before its end.");
  bind_view(device, "DeviceView");
}

}  // namespace ipcq::python
