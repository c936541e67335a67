// The handler of the hosts of scripts/soak-redis that have one of their own: ASCII letters become upper case. It waits
// in the middle, so that there are always tasks in work, half done, when its process, its broker or its bridge is
// killed.
#include <ipcq/handler.hpp>

#if !defined(__CUDA_ARCH__)
#include <chrono>
#include <thread>
#endif

IPCQ_HOST_DEVICE inline void wait_ten_ms() {
#if defined(__CUDA_ARCH__)
  for (int n = 0; n < 20; ++n) __nanosleep(500'000);  // ns, of which the device may take twice as many
#else
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
#endif
}

struct Upper {
  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t) { return true; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const {
    for (std::uint64_t i = team.rank(); i < length; i += team.size()) {
      const auto c = static_cast<unsigned char>(data[i]);
      if (c >= 'a' && c <= 'z') data[i] = static_cast<std::byte>(c - 'a' + 'A');
      if (i == length / 2) wait_ten_ms();
    }
  }
};
IPCQ_HANDLER(Upper)
