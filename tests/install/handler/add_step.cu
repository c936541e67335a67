// Adds STEP to each byte, up to 255.
#include <ipcq/handler.hpp>

#if !defined(__CUDACC__)
unsigned saturated(unsigned value);  // saturated.cpp
#endif

struct AddStep {
  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t) { return true; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const {
    for (std::uint64_t i = team.rank(); i < length; i += team.size()) {
      const unsigned sum = static_cast<unsigned>(data[i]) + STEP;
#if defined(__CUDACC__)
      data[i] = static_cast<std::byte>(min(sum, 255u));
#else
      data[i] = static_cast<std::byte>(saturated(sum));
#endif
    }
  }
};
IPCQ_HANDLER(AddStep)
