// Handlers: functors that change a message in place, one source for host threads and device code.
//
// A handler is called by a team of lanes that share one message: `team.rank()` in [0, team.size()). A host worker is a
// team of one; on a device the lanes are threads. Each lane works on its own elements, so lanes need no order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "ipcq/export.hpp"

#if defined(__CUDACC__)
#define IPCQ_HOST_DEVICE __host__ __device__
#else
#define IPCQ_HOST_DEVICE
#endif

namespace ipcq {

// The team of a host worker. Its size is a constant, so that the compiler can vectorise the handlers' loops.
struct HostTeam {
  static constexpr std::uint64_t rank() noexcept { return 0; }
  static constexpr std::uint64_t size() noexcept { return 1; }
};

namespace handlers {

// Leaves the message as it is.
struct Identity {
  static constexpr bool accepts(std::uint64_t) noexcept { return true; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte*, std::uint64_t, Team) const noexcept {}
};

// Every byte v becomes 255 - v.
struct Invert {
  static constexpr bool accepts(std::uint64_t) noexcept { return true; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const noexcept {
    for (std::uint64_t i = team.rank(); i < length; i += team.size()) data[i] = ~data[i];
  }
};

// ASCII lower-case letters become upper case; every other byte stays.
struct Upper {
  static constexpr bool accepts(std::uint64_t) noexcept { return true; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const noexcept {
    for (std::uint64_t i = team.rank(); i < length; i += team.size()) {
      const auto c = static_cast<unsigned char>(data[i]);
      const bool lower = static_cast<unsigned char>(c - 'a') < 26;
      data[i] = static_cast<std::byte>(lower ? c - 32 : c);
    }
  }
};

// Two float32 arrays a, b of n elements, one after the other (8 n bytes): a[i] += b[i].
struct VectorAdd {
  static constexpr bool accepts(std::uint64_t length) noexcept { return length % (2 * sizeof(float)) == 0; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const noexcept {
    const std::uint64_t n = length / (2 * sizeof(float));
    std::byte* const second = data + n * sizeof(float);
    for (std::uint64_t i = team.rank(); i < n; i += team.size()) {
      float a, b;
      std::memcpy(&a, data + i * sizeof(float), sizeof a);
      std::memcpy(&b, second + i * sizeof(float), sizeof b);
      a += b;
      std::memcpy(data + i * sizeof(float), &a, sizeof a);
    }
  }
};

}  // namespace handlers

// A handler as a host worker runs it: false when it cannot work on `length` bytes (the message is passed on unchanged
// and marked so).
using HostHandler = bool (*)(std::byte* data, std::uint64_t length);

// The built-in handlers: "identity", "invert", "upper", "vector_add". Null for any other name.
IPCQ_API HostHandler find_host_handler(std::string_view name) noexcept;
IPCQ_API std::vector<std::string> handler_names();

}  // namespace ipcq
