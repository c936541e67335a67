// The handler of the hosts of scripts/soak-redis that have an ipcq-host-runner: ASCII letters become upper case. It
// waits in the middle, so that there are always tasks in work, half done, when its process, its broker or its bridge is
// killed.
#include <ipcq/handler.hpp>

#include <chrono>
#include <thread>

struct Upper {
  static constexpr bool accepts(std::uint64_t) { return true; }
  template <class Team>
  void operator()(std::byte* data, std::uint64_t length, Team team) const {
    for (std::uint64_t i = team.rank(); i < length; i += team.size()) {
      const auto c = static_cast<unsigned char>(data[i]);
      if (c >= 'a' && c <= 'z') data[i] = static_cast<std::byte>(c - 'a' + 'A');
      if (i == length / 2) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
};
IPCQ_HANDLER(Upper)
