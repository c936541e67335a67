// Finds the kernels of the soft GPU by name.
#pragma once

#include <functional>
#include <string>

namespace soft_gpu {

// Copies a launch's arguments, and returns the function that runs one thread of the grid.
using Kernel = std::function<std::function<void()>(void** arguments)>;

const Kernel* find_kernel(const std::string& name);

}  // namespace soft_gpu
