// Sorts each four numbers of a message, with CUB in device code: what ipcq_add_handler() builds and NVRTC could not.
#include <ipcq/handler.hpp>

#include "own_handlers/built/order.hpp"
#if defined(__CUDACC__)
#include <cub/thread/thread_sort.cuh>
#else
#include <algorithm>
#endif

struct SortFours {
  bool descending = false;

  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t length) {
    return length % (kTogether * sizeof(std::uint32_t)) == 0;
  }

  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const {
    auto* const all = reinterpret_cast<std::uint32_t*>(data);
    for (std::uint64_t i = team.rank(); i < length / (kTogether * sizeof *all); i += team.size()) {
      sort(all + i * kTogether);
    }
  }

 private:
  IPCQ_HOST_DEVICE void sort(std::uint32_t* four) const {
#if defined(__CUDACC__)
    std::uint32_t keys[kTogether];
    cub::NullType no_values[kTogether];
    for (int k = 0; k < kTogether; ++k) keys[k] = four[k];
    cub::StableOddEvenSort(keys, no_values, Order{descending});
    for (int k = 0; k < kTogether; ++k) four[k] = keys[k];
#else
    std::sort(four, four + kTogether, Order{descending});
#endif
  }
};
IPCQ_HANDLER(SortFours, descending)
