// ipcq._core.Broker, and what tools ask of a running broker.
#pragma once

#include <nanobind/nanobind.h>

namespace ipcq::python {

namespace nb = nanobind;

void bind_broker(nb::module_& m);
// Those that are open when the interpreter ends.
void stop_all_brokers();

}  // namespace ipcq::python
