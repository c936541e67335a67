#include <unistd.h>

#include "conformance/backend.hpp"

namespace ipcq_test {

std::vector<Backend> backends() {
  return {
      {"CudaNoHandler", "cuda", "", ExecutorKind::persistent},
      {"CudaPersistent", "cuda", "identity", ExecutorKind::persistent},
      {"CudaStream", "cuda", "identity", ExecutorKind::stream},
  };
}

// One runner for all tests: it lives while a broker of this process has a queue on the GPU.
std::string start_device() {
  static Broker keeper({.name = "conformance-" + std::to_string(getpid()) + "-keeper"});
  try {
    keeper.create("keeper", {.slots = 0, .handler = "identity", .backend = "cuda"});
    return {};
  } catch (const BackendError& e) {
    return e.what();
  }
}

}  // namespace ipcq_test
