// The handler of scripts/soak's queue `own`, as a user writes one: ASCII letters become upper case. On the host it
// takes its time in the middle, so that some messages are half done when its process is killed.
#include <ipcq/handler.hpp>

struct Upper {
  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t) { return true; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const {
    for (std::uint64_t i = team.rank(); i < length; i += team.size()) {
      const auto c = static_cast<unsigned char>(data[i]);
      if (c >= 'a' && c <= 'z') data[i] = static_cast<std::byte>(c - 'a' + 'A');
#if !defined(__CUDA_ARCH__)
      for (volatile int n = i == length / 2 ? 50'000 : 0; n > 0; n = n - 1) {
      }
#endif
    }
  }
};
IPCQ_HANDLER(Upper)
