// QueueOptions and PoolOptions, as ipcq/_options.py fills them in.
#pragma once

#include <nanobind/nanobind.h>

namespace ipcq::python {

void bind_options(nanobind::module_& m);

}  // namespace ipcq::python
