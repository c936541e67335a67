// Python's side of device_message.hpp, and what it says of the GPUs.
#pragma once

#include <nanobind/nanobind.h>

namespace ipcq::python {

void bind_device(nanobind::module_& m);

}  // namespace ipcq::python
