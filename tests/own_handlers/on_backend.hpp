// Own handlers on the backend that the build names: the host, or a GPU (also one that is played by the CPU).
#pragma once

#include <string>
#include <string_view>

#include "beside_this_test.hpp"
#include "own_handlers/own_handlers.hpp"

namespace ipcq_test {

inline constexpr bool kOnGpu = std::string_view(IPCQ_OWN_BACKEND) == "cuda";

class OnBackend : public OwnHandlers {
 protected:
  void SetUp() override {
    if (!kOnGpu) return;
    try {
      broker().create("probe", {.slots = 1, .handler = "identity", .backend = "cuda"});
    } catch (const BackendError& e) {
      GTEST_SKIP() << e.what();
    }
  }
  static QueueOptions options(const std::string& file) {
    return {.slots = 16, .size = 8192, .handler = file, .backend = IPCQ_OWN_BACKEND};
  }
};

}  // namespace ipcq_test
