// Kernels of the soft GPU: what a launch finds by name.
#pragma once

#include <functional>
#include <string>
#include <tuple>
#include <utility>

namespace soft_gpu {

// Copies a launch's arguments, and returns the function that runs one thread of the grid.
using Kernel = std::function<std::function<void()>(void** arguments)>;

template <class... A, std::size_t... kIndex>
Kernel make(void (*kernel)(A...), std::index_sequence<kIndex...>) {
  return [kernel](void** arguments) -> std::function<void()> {
    std::tuple<A...> values(*static_cast<A*>(arguments[kIndex])...);
    return [kernel, values] { std::apply(kernel, values); };
  };
}
template <class... A>
Kernel make(void (*kernel)(A...)) {
  return make(kernel, std::index_sequence_for<A...>{});
}

// Those of one handler, as entries of a table from names to kernels.
#define IPCQ_KERNELS_OF(handler)                                            \
  {"ipcq_persistent_" #handler, soft_gpu::make(ipcq_persistent_##handler)}, \
      {"ipcq_message_" #handler, soft_gpu::make(ipcq_message_##handler)},   \
      {"ipcq_finish_" #handler, soft_gpu::make(ipcq_finish_##handler)}, {   \
    "ipcq_inlined_" #handler, soft_gpu::make(ipcq_inlined_##handler)        \
  }

// A kernel of the project.
const Kernel* find_kernel(const std::string& name);

// A handler's image, compiled for the soft GPU: a shared object (user_kernels.cpp.in). Each is loaded by itself.
class Image {
 public:
  // The project's own kernels are none.
  static bool is_one(const void* image);
  // Null where `image` is none, or cannot be loaded.
  static Image* load(const void* image);
  ~Image();
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  const Kernel* find_kernel(const std::string& name) const;
  void* find_global(const char* name, std::size_t& bytes) const;

 private:
  explicit Image(void* library) : library_(library) {}
  void* library_;
};

}  // namespace soft_gpu
