// The kernels of both executors, for each built-in handler.
#include "device/executors.cuh"
#include "ipcq/builtin_handlers.hpp"

IPCQ_EXECUTOR_KERNELS(identity, ipcq::handlers::Identity)
IPCQ_EXECUTOR_KERNELS(invert, ipcq::handlers::Invert)
IPCQ_EXECUTOR_KERNELS(upper, ipcq::handlers::Upper)
IPCQ_EXECUTOR_KERNELS(vector_add, ipcq::handlers::VectorAdd)
