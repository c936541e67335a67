// After the user's file, for a GPU: checks the handler and makes the kernels of both executors, ipcq_<what>_user.
#pragma once

#include "device/executors.cuh"

namespace ipcq_compiler {
using Team = ipcq::detail::Team;
}
#include "device/named_handler.hpp"

IPCQ_EXECUTOR_KERNELS(user, ipcq_compiler::Chosen)
