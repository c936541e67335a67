// Two vectors of as many elements, one behind the other: the first becomes their sum.
#include <ipcq/handler.hpp>

struct AddSecondToFirst {
  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t length) { return length % (2 * sizeof(float)) == 0; }

  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const {
    const std::uint64_t elements = length / (2 * sizeof(float));
    auto* const first = reinterpret_cast<float*>(data);
    const float* const second = first + elements;
    for (std::uint64_t i = team.rank(); i < elements; i += team.size()) first[i] += second[i];
  }
};
IPCQ_HANDLER(AddSecondToFirst)
