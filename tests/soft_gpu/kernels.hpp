// The kernels that the soft GPU knows, by name.
#pragma once

#include <functional>
#include <string>

namespace soft_gpu {

// Takes a launch's arguments by value; what it returns runs one thread of the grid.
using Kernel = std::function<std::function<void()>(void** arguments)>;

const Kernel* find_kernel(const std::string& name);

}  // namespace soft_gpu
