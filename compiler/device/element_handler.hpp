// In place of the user's file, where an object has a function of one element for a GPU: applies it to each element of
// the message. Sixteen bytes at a time, and four of those in flight, as the built-in handlers do.
#pragma once

#include "ipcq/handler.hpp"

namespace ipcq_compiler {

// `apply` takes and returns IpcqPassed, in which an IpcqElement fits; integers wrap on the way back.
template <class IpcqElement, class IpcqPassed, IpcqPassed (*ipcq_apply)(IpcqPassed)>
struct ElementHandler {
  static constexpr unsigned kInWords = sizeof(ipcq::handlers::Words) / sizeof(IpcqElement);
  union Several {
    ipcq::handlers::Words words;
    IpcqElement elements[kInWords];
  };

  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t ipcq_length) {
    return ipcq_length % sizeof(IpcqElement) == 0;
  }

  template <class IpcqTeam>
  IPCQ_HOST_DEVICE void operator()(std::byte* ipcq_data, std::uint64_t ipcq_length, IpcqTeam ipcq_team) const {
    constexpr unsigned kAtOnce = 4;
    constexpr std::uint64_t kBytes = sizeof(ipcq::handlers::Words);
    const std::uint64_t ipcq_whole = ipcq_length / kBytes;
    const std::uint64_t ipcq_step = ipcq_team.size();
    std::uint64_t ipcq_i = ipcq_team.rank();
    for (; ipcq_i + (kAtOnce - 1) * ipcq_step < ipcq_whole; ipcq_i += kAtOnce * ipcq_step) {
      Several ipcq_v[kAtOnce];
#pragma unroll
      for (unsigned ipcq_k = 0; ipcq_k < kAtOnce; ++ipcq_k) {
        ipcq_v[ipcq_k].words = ipcq::handlers::load_words(ipcq_data + (ipcq_i + ipcq_k * ipcq_step) * kBytes);
      }
#pragma unroll
      for (unsigned ipcq_k = 0; ipcq_k < kAtOnce; ++ipcq_k) {
        apply_all(ipcq_v[ipcq_k]);
        ipcq::handlers::store_words(ipcq_data + (ipcq_i + ipcq_k * ipcq_step) * kBytes, ipcq_v[ipcq_k].words);
      }
    }
    for (; ipcq_i < ipcq_whole; ipcq_i += ipcq_step) {
      Several ipcq_v;
      ipcq_v.words = ipcq::handlers::load_words(ipcq_data + ipcq_i * kBytes);
      apply_all(ipcq_v);
      ipcq::handlers::store_words(ipcq_data + ipcq_i * kBytes, ipcq_v.words);
    }
    auto* const ipcq_all = reinterpret_cast<IpcqElement*>(ipcq_data);
    const std::uint64_t ipcq_count = ipcq_length / sizeof(IpcqElement);
    for (std::uint64_t ipcq_n = ipcq_whole * kInWords + ipcq_team.rank(); ipcq_n < ipcq_count; ipcq_n += ipcq_step) {
      ipcq_all[ipcq_n] = applied(ipcq_all[ipcq_n]);
    }
  }

 private:
  IPCQ_HOST_DEVICE static IpcqElement applied(IpcqElement ipcq_element) {
    return static_cast<IpcqElement>(ipcq_apply(static_cast<IpcqPassed>(ipcq_element)));
  }
  IPCQ_HOST_DEVICE static void apply_all(Several& ipcq_several) {
#pragma unroll
    for (unsigned ipcq_n = 0; ipcq_n < kInWords; ++ipcq_n) {
      ipcq_several.elements[ipcq_n] = applied(ipcq_several.elements[ipcq_n]);
    }
  }
};

}  // namespace ipcq_compiler
