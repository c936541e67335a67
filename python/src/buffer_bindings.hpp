// Python's side of array_buffer.hpp and buffer_pool.hpp: ipcq.Buffer and ipcq.BufferPool.
#pragma once

#include <nanobind/nanobind.h>

namespace ipcq::python {

void bind_buffers(nanobind::module_& m);

}  // namespace ipcq::python
