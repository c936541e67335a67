// Handlers: functors that change a message in place, one source for host threads and device code.
//
// A handler is called by each lane of a team that shares one message; team.rank() is in [0, team.size()). A host worker
// is a team of one; on a device the lanes are threads. Each lane changes its own elements, so lanes need no order.
// accepts(length): whether the handler can work on `length` bytes. It is not called for other lengths. Handlers have no
// state, and are called from many threads. The functions that take a name are thread-safe.
// Of a record batch (records.hpp) handlers see the records: one is called for each, as for a message of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "ipcq/export.hpp"

namespace ipcq {

// The team of a host worker. Its size is a constant, so that the compiler can vectorise the handlers' loops.
struct HostTeam {
  static constexpr std::uint64_t rank() noexcept { return 0; }
  static constexpr std::uint64_t size() noexcept { return 1; }
};

namespace handlers {

// Sixteen bytes of payload. In device code payloads, and records, begin at 16-byte boundaries.
struct Words {
  std::uint64_t w[2];
};
IPCQ_HOST_DEVICE inline Words load_words(const std::byte* from) noexcept {
  Words v;
#if defined(__CUDA_ARCH__)
  const ulonglong2 both = *reinterpret_cast<const ulonglong2*>(from);
  v.w[0] = both.x, v.w[1] = both.y;
#else
  std::memcpy(&v, from, sizeof v);
#endif
  return v;
}
IPCQ_HOST_DEVICE inline void store_words(std::byte* to, const Words& v) noexcept {
#if defined(__CUDA_ARCH__)
  *reinterpret_cast<ulonglong2*>(to) = make_ulonglong2(v.w[0], v.w[1]);
#else
  std::memcpy(to, &v, sizeof v);
#endif
}

// Applies `op`, which must treat the bytes of a 64-bit word independently, to the payload. Each lane has several loads
// in flight.
template <class Team, class Op>
IPCQ_HOST_DEVICE void transform_bytes(std::byte* data, std::uint64_t length, Team team, Op op) noexcept {
  constexpr unsigned kAtOnce = 4;
  const std::uint64_t whole = length / sizeof(Words);
  const std::uint64_t step = team.size();
  std::uint64_t i = team.rank();
  for (; i + (kAtOnce - 1) * step < whole; i += kAtOnce * step) {
    Words v[kAtOnce];
    for (unsigned k = 0; k < kAtOnce; ++k) v[k] = load_words(data + (i + k * step) * sizeof(Words));
    for (unsigned k = 0; k < kAtOnce; ++k) {
      for (auto& w : v[k].w) w = op(w);
      store_words(data + (i + k * step) * sizeof(Words), v[k]);
    }
  }
  for (; i < whole; i += step) {
    Words v = load_words(data + i * sizeof(Words));
    for (auto& w : v.w) w = op(w);
    store_words(data + i * sizeof(Words), v);
  }
  for (std::uint64_t b = whole * sizeof(Words) + team.rank(); b < length; b += step) {
    data[b] = static_cast<std::byte>(op(static_cast<std::uint64_t>(data[b])));
  }
}

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

// Runs the handler if it accepts the length. Else false, and the bytes stay as they are.
template <class Handler, class Team>
IPCQ_HOST_DEVICE bool run(std::byte* data, std::uint64_t length, Team team) noexcept {
  if (!Handler::accepts(length)) return false;
  Handler()(data, length, team);
  return true;
}

}  // namespace handlers

// A handler as a host worker runs it, in place on `length` bytes. False: it cannot work on that length; the message, or
// record, is passed on unchanged, with Message::processed() false.
using HostHandler = bool (*)(std::byte* data, std::uint64_t length);

// The built-in handlers: "identity", "invert", "upper", "vector_add". Null for any other name.
IPCQ_API HostHandler find_host_handler(std::string_view name) noexcept;
// Their names.
IPCQ_API std::vector<std::string> handler_names();
// Whether the handler of that name can work on `length` bytes; true for an unknown name.
IPCQ_API bool handler_accepts(std::string_view name, std::uint64_t length) noexcept;

}  // namespace ipcq
