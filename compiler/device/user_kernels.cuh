// After the user's file, for a GPU: the handler, and the kernels of both executors, ipcq_<what>_user.
#pragma once

#include "device/executors.cuh"
#include "device/user_handler.cuh"

IPCQ_CONFIGURE_KERNEL(ipcq_compiler::Chosen)
IPCQ_EXECUTOR_KERNELS(user, ipcq_compiler::Chosen)
