// Statistics as ipcq/_stats.py has them: dataclasses with the fields of <ipcq/stats.hpp>.
#pragma once

#include <nanobind/nanobind.h>

#include <ipcq/stats.hpp>

namespace ipcq::python {

nanobind::object to_python(const BrokerStats& stats);

}  // namespace ipcq::python
