// Python's side of array_buffer.hpp: ipcq.HostView and ipcq.DeviceView.
#pragma once

#include <nanobind/nanobind.h>

namespace ipcq::python {

void bind_buffer_views(nanobind::module_& m);

}  // namespace ipcq::python
