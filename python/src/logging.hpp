// The library's log lines go to Python's logging, logger "ipcq".
#pragma once

#include <ipcq/log.hpp>

namespace ipcq::python {

// Drops lines once the interpreter ends.
LogCallback python_log();

}  // namespace ipcq::python
