// Handlers: functors that change a message in place, one source for host threads and device code.
//
// A handler is called by each lane of a team that shares one message; team.rank() is in [0, team.size()). A host worker
// is a team of one; on a device the lanes are threads. Each lane changes its own elements, so lanes need no order.
// accepts(length): whether the handler can work on `length` bytes. It is not called for other lengths. Handlers are
// called from many threads, and constant: what changes from queue to queue are their parameters, members that
// IPCQ_HANDLER names (bool, integers, float, double) and that `handler=FILE:NAME=VALUE` sets.
// Of a record batch (records.hpp) handlers see the records: one is called for each, as for a message of its own.
//
//   #include <ipcq/handler.hpp>
//   struct Halve {
//     IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t length) { return length % sizeof(float) == 0; }
//     template <class Team>
//     IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const {
//       auto* const values = reinterpret_cast<float*>(data);
//       for (std::uint64_t i = team.rank(); i < length / sizeof(float); i += team.size()) values[i] /= 2;
//     }
//   };
//   IPCQ_HANDLER(Halve)                         // with parameters: IPCQ_HANDLER(Scale, factor, offset)
//
// What NVRTC compiles too: of the standard library it has the three headers below and <cmath>, and nothing else.
// builtin_handlers.hpp has the handlers that the library brings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ipcq/export.hpp"

// Names the handler of a source file and its parameters, 16 at most; once, outside of every namespace. (Declares a
// function that nobody calls, and one that visits the parameters.) A type with a comma in it needs a name of its own.
#define IPCQ_HANDLER(ipcq_type, ...)                                                                           \
  ipcq_type ipcq_handler_of_this_file(int) noexcept;                                                           \
  template <class IpcqVisitor>                                                                                 \
  IPCQ_HOST_DEVICE void ipcq_visit_parameters([[maybe_unused]] ipcq_type& ipcq_handler, IpcqVisitor& ipcq_v) { \
    (void)ipcq_v;                                                                                              \
    __VA_OPT__(IPCQ_HANDLER_EXPAND(IPCQ_HANDLER_VISIT(__VA_ARGS__)))                                           \
  }
#define IPCQ_HANDLER_VISIT(ipcq_member, ...)      \
  ipcq_v(#ipcq_member, ipcq_handler.ipcq_member); \
  __VA_OPT__(IPCQ_HANDLER_AGAIN IPCQ_HANDLER_CALL(__VA_ARGS__))
#define IPCQ_HANDLER_AGAIN() IPCQ_HANDLER_VISIT
#define IPCQ_HANDLER_CALL ()
#define IPCQ_HANDLER_EXPAND(...) IPCQ_HANDLER_MORE(IPCQ_HANDLER_MORE(IPCQ_HANDLER_MORE(IPCQ_HANDLER_MORE(__VA_ARGS__))))
#define IPCQ_HANDLER_MORE(...) IPCQ_HANDLER_SCAN(IPCQ_HANDLER_SCAN(IPCQ_HANDLER_SCAN(IPCQ_HANDLER_SCAN(__VA_ARGS__))))
#define IPCQ_HANDLER_SCAN(...) __VA_ARGS__

namespace ipcq {

// The team of a host worker. Its size is a constant, so that the compiler can vectorise the handlers' loops.
struct HostTeam {
  IPCQ_HOST_DEVICE static constexpr std::uint64_t rank() noexcept { return 0; }
  IPCQ_HOST_DEVICE static constexpr std::uint64_t size() noexcept { return 1; }
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

// Runs the handler if it accepts the length. Else false, and the bytes stay as they are.
template <class Handler, class Team>
IPCQ_HOST_DEVICE bool run(const Handler& handler, std::byte* data, std::uint64_t length, Team team) noexcept {
  if (!handler.accepts(length)) return false;
  handler(data, length, team);
  return true;
}

}  // namespace handlers
}  // namespace ipcq
