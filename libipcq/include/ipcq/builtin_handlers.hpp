// The handlers that the library brings, and what they are called. The functions that take a name are thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "ipcq/handler.hpp"

namespace ipcq {

namespace handlers {

// Leaves the message as it is.
struct Identity {
  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t) noexcept { return true; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte*, std::uint64_t, Team) const noexcept {}
};

// Every byte v becomes 255 - v.
struct Invert {
  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t) noexcept { return true; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const noexcept {
    transform_bytes(data, length, team, [](std::uint64_t w) { return ~w; });
  }
};

// ASCII lower-case letters become upper case; every other byte stays.
struct Upper {
  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t) noexcept { return true; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const noexcept {
    transform_bytes(data, length, team, [](std::uint64_t w) {
      constexpr std::uint64_t kOnes = 0x0101010101010101;
      constexpr std::uint64_t kTops = 0x80 * kOnes;
      // For the lower seven bits of each byte: bit 7 of the sum says whether they reach the bound.
      const std::uint64_t low = w & ~kTops;
      const std::uint64_t from_a = low + (0x80 - 'a') * kOnes;
      const std::uint64_t beyond_z = low + (0x80 - ('z' + 1)) * kOnes;
      const std::uint64_t letters = from_a & ~beyond_z & ~w & kTops;
      return w ^ (letters >> 2);  // 0x20, the bit between the cases
    });
  }
};

// Two float32 arrays a, b of n elements, one after the other (8 n bytes): a[i] += b[i].
struct VectorAdd {
  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t length) noexcept {
    return length % (2 * sizeof(float)) == 0;
  }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const noexcept {
    const std::uint64_t n = length / (2 * sizeof(float));
    std::byte* const second = data + n * sizeof(float);
    for (std::uint64_t i = team.rank(); i < n; i += team.size()) {
      float a, b;
      load(a, data + i * sizeof(float));
      load(b, second + i * sizeof(float));
      a += b;
      store(data + i * sizeof(float), a);
    }
  }

 private:
  IPCQ_HOST_DEVICE static void load(float& to, const std::byte* from) noexcept {
#if defined(__CUDA_ARCH__)
    to = *reinterpret_cast<const float*>(from);
#else
    std::memcpy(&to, from, sizeof to);
#endif
  }
  IPCQ_HOST_DEVICE static void store(std::byte* to, float from) noexcept {
#if defined(__CUDA_ARCH__)
    *reinterpret_cast<float*>(to) = from;
#else
    std::memcpy(to, &from, sizeof from);
#endif
  }
};

}  // namespace handlers

// A handler as a host worker runs it, in place on `length` bytes. False: it cannot work on that length; the message, or
// record, is passed on unchanged, with Message::processed() false.
using HostHandler = bool (*)(std::byte* data, std::uint64_t length);

// The built-in handlers: "identity", "invert", "upper", "vector_add". Null for any other name.
IPCQ_API HostHandler find_host_handler(std::string_view name) noexcept;
// Their names.
IPCQ_API std::vector<std::string> handler_names();
// Whether QueueOptions::handler names a file of the user's: what has a '/' or a '.', which no built-in name has.
IPCQ_API bool is_handler_file(std::string_view handler) noexcept;
// Whether the handler of that name can work on `length` bytes; true for an unknown name.
IPCQ_API bool handler_accepts(std::string_view name, std::uint64_t length) noexcept;

}  // namespace ipcq
