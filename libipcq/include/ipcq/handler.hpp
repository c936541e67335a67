// Handlers: functors that change a message in place, one source for host threads and device code.
//
// A handler is called by each lane of a team that shares one message; team.rank() is in [0, team.size()). A host worker
// is a team of one; on a device the lanes are threads. Each lane changes its own elements, so lanes need no order; how
// many they are, and whether they can wait for each other, the handler's `sharing` says.
// accepts(length): whether the handler can work on `length` bytes. It is not called for other lengths; without the
// function it is for all. Handlers are called from many threads, and constant: what changes from queue to queue are
// their parameters, members that IPCQ_HANDLER names (bool, integers, float, double) and that `handler=FILE:NAME=VALUE`
// sets. Of a record batch (records.hpp) handlers see the records: one is called for each, as for a message of its own.
// A handler whose call takes a State behind the team has memory of its queue's, which stays from message to message.
//
// Two forms of the call: with the bytes alone, as below, and with all that is known of the message, of which the
// handler may change the length, or which it may drop or declare failed:
//
//   template <class Team>
//   IPCQ_HOST_DEVICE void operator()(ipcq::HandlerMessage& message, Team team) const
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
#include "ipcq/for_each.hpp"

// Names the handler of a source file and its parameters, of which a queue sets 16 at most; once, outside of every
// namespace. (Declares a function that nobody calls, and one that visits the parameters.) A type with a comma in it
// needs a name of its own.
#define IPCQ_HANDLER(ipcq_type, ...)                                                                           \
  ipcq_type ipcq_handler_of_this_file(int) noexcept;                                                           \
  template <class IpcqVisitor>                                                                                 \
  IPCQ_HOST_DEVICE void ipcq_visit_parameters([[maybe_unused]] ipcq_type& ipcq_handler, IpcqVisitor& ipcq_v) { \
    (void)ipcq_v;                                                                                              \
    IPCQ_FOR_EACH(IPCQ_HANDLER_PARAMETER, __VA_ARGS__)                                                         \
  }
#define IPCQ_HANDLER_PARAMETER(ipcq_member) ipcq_v(#ipcq_member, ipcq_handler.ipcq_member);

// What a call of team.sync() or team.scratch() says when it is compiled, where the team has none.
#define IPCQ_NO_SYNC                                                                                                   \
  "team.sync() is for lanes that can wait for each other: the handler declares that, static constexpr auto sharing = " \
  "ipcq::Sharing::block, or warp"
#define IPCQ_NO_SCRATCH                                                                                                \
  "team.scratch() is for a handler that declares how much it has, static constexpr unsigned scratch_bytes = ..., and " \
  "who shares it, static constexpr auto sharing = ipcq::Sharing::block, or warp"

namespace ipcq {

namespace detail {

// What became of a message, in HandlerMessage::outcome. 1 to 255: fail() was called with that code.
inline constexpr std::uint32_t kMostFailureCode = 255;
inline constexpr std::uint32_t kRefusedOutcome = 256;
inline constexpr std::uint32_t kDroppedOutcome = 512;
inline constexpr std::uint32_t kThrewOutcome = 1024;

// What an element beyond its message throws on the host.
struct OutOfBounds {};
[[noreturn]] IPCQ_HOST_DEVICE inline void throw_out_of_bounds() {
#if defined(__CUDA_ARCH__)
  __trap();
  __builtin_unreachable();
#else
  throw OutOfBounds();
#endif
}

}  // namespace detail

// How many lanes of a GPU share one message: `static constexpr ipcq::Sharing sharing` of a handler. On the host it is
// one thread in any case.
enum class Sharing : std::uint32_t {
  all,     // unless the handler says otherwise. As its length suits: from eight lanes to all blocks of the GPU. They
           // cannot wait for each other
  thread,  // one lane
  warp,    // 32 lanes; team.sync(), team.scratch()
  block,   // 512 lanes for a message in a slot, 32 for one in its line or for a record; team.sync(), team.scratch()
};

// The payload of a message as elements of a type. With the macro IPCQ_CHECK_BOUNDS (`define=IPCQ_CHECK_BOUNDS`) an
// index beyond the last fails the message on the host, and traps on a GPU, whose queues are created anew.
template <class T>
class Elements {
 public:
  IPCQ_HOST_DEVICE Elements(std::byte* data, std::uint64_t length) noexcept
      : data_(reinterpret_cast<T*>(data)), size_(length / sizeof(T)) {}
  IPCQ_HOST_DEVICE std::uint64_t size() const noexcept { return size_; }
  IPCQ_HOST_DEVICE T& operator[](std::uint64_t i) const {
#if defined(IPCQ_CHECK_BOUNDS)
    if (i >= size_) detail::throw_out_of_bounds();
#endif
    return data_[i];
  }

 private:
  T* data_;
  std::uint64_t size_;
};

// The message, or record, that a handler is called for. Each lane has its own; what the functions below do counts of
// the lane of rank 0, and of several calls the last. Not copied, so that a handler which takes it by value, where they
// would have no effect, does not compile.
struct HandlerMessage {
  HandlerMessage() = default;
  HandlerMessage(HandlerMessage&&) = default;
  HandlerMessage& operator=(HandlerMessage&&) = default;

  std::byte* data = nullptr;  // at a multiple of 16
  std::uint64_t length = 0;
  std::uint64_t capacity = 0;         // up to which resize() may go
  std::uint64_t ticket = 0;           // place in the queue's order
  std::uint64_t sequence = 0;         // number among the messages of its producer, from 0
  std::uint64_t published_at_ns = 0;  // CLOCK_MONOTONIC; 0 for a message carried in its line
  std::uint32_t producer = 0;         // id, unique while it is attached
  std::uint32_t record = 0;           // place of the record in its batch, from 0; 0 for a message that is no record
  std::uint32_t outcome = 0;          // for executors

  template <class T>
  IPCQ_HOST_DEVICE Elements<T> elements() const noexcept {
    return {data, length};
  }
  // Readers get `bytes` bytes. False, and nothing changes: more than `capacity`, which of a record is its length. Bytes
  // behind the former length are unspecified, in a slot as in a line: of earlier messages, or of the executor. Readers
  // get those that the handler does not write as they are.
  IPCQ_HOST_DEVICE bool resize(std::uint64_t bytes) noexcept {
    if (bytes > capacity || (record_of_batch && bytes != length)) return false;
    length = bytes;
    return true;
  }
  // Nobody gets the message; statistics count it as `filtered`.
  IPCQ_HOST_DEVICE void drop() noexcept { outcome = detail::kDroppedOutcome; }
  // Readers get the message marked: failed() is true, and failure() is `code`, 1 to 255 (0 counts as 1). A record is
  // marked as if accepts() had refused it: processed() is false, and the code is lost, since a batch has no room for
  // it.
  IPCQ_HOST_DEVICE void fail(std::uint8_t code) noexcept { outcome = code == 0 ? 1u : code; }

  bool record_of_batch = false;  // it is a record
};

// The team of a host worker. Its size is a constant, so that the compiler can vectorise the handlers' loops.
struct HostTeam {
  std::byte* shared = nullptr;
  IPCQ_HOST_DEVICE static constexpr std::uint64_t rank() noexcept { return 0; }
  IPCQ_HOST_DEVICE static constexpr std::uint64_t size() noexcept { return 1; }
  // For teams whose lanes can wait for each other (Sharing): until all of them have called it, and see what the others
  // wrote before. To be called by all.
  IPCQ_HOST_DEVICE static constexpr void sync() noexcept {}
  // Memory of the team during the call, at a multiple of 16: as many bytes as the handler's `scratch_bytes` says
  // (static constexpr, 16384 at most). Unspecified contents.
  IPCQ_HOST_DEVICE std::byte* scratch() const noexcept { return shared; }
};

// A queue's memory for its handler (QueueOptions::state_bytes): where the messages are worked on, so in VRAM or in the
// host runner; at a multiple of 16 bytes. A handler that takes it, behind the team in either form of the call,
//   operator()(std::byte* data, std::uint64_t length, Team team, ipcq::State state) const
//   operator()(ipcq::HandlerMessage& message, Team team, ipcq::State state) const
// is serial: called for one message (or record) at a time, in their order, and each call observes what the calls
// before it have written. Unless it declares `static constexpr bool concurrent = true`: then calls overlap as they do
// without state, and it needs atomic operations of its own.
struct State {
  std::byte* data;
  std::uint64_t bytes;
};

namespace handlers {

template <class Handler>
IPCQ_HOST_DEVICE constexpr Sharing sharing_of() noexcept {
  if constexpr (requires { Handler::sharing; }) {
    return Handler::sharing;
  } else {
    return Sharing::all;
  }
}
inline constexpr std::uint64_t kMostScratchBytes = 16384;
template <class Handler>
IPCQ_HOST_DEVICE constexpr std::uint64_t scratch_bytes_of() noexcept {
  if constexpr (requires { Handler::scratch_bytes; }) {
    return Handler::scratch_bytes;
  } else {
    return 0;
  }
}
// `static constexpr bool heavy = true`: on a GPU each lane may use 128 registers rather than 64, and a multiprocessor
// has room for one block of the queue's rather than two.
template <class Handler>
IPCQ_HOST_DEVICE constexpr bool is_heavy() noexcept {
  if constexpr (requires { Handler::heavy; }) {
    return Handler::heavy;
  } else {
    return false;
  }
}
template <class Handler>
IPCQ_HOST_DEVICE constexpr bool accepts(const Handler& handler, std::uint64_t length) {
  if constexpr (requires { handler.accepts(length); }) {
    return handler.accepts(length);
  } else {
    return true;
  }
}
template <class Handler, class Team>
concept TakesState = requires(const Handler& handler, std::byte* data, std::uint64_t length, const Team& team,
                              const State& state) {
  handler(data, length, team, state);
}
|| requires(const Handler& handler, HandlerMessage& message, const Team& team, const State& state) {
  handler(message, team, state);
};
template <class Handler>
concept Concurrent = static_cast<bool>(Handler::concurrent);
template <class Handler, class Team>
concept Serial = TakesState<Handler, Team> && !Concurrent<Handler>;

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
  if (!accepts(handler, length)) return false;
  handler(data, length, team);
  return true;
}

// The same in each form of the call; message.outcome says what became of it.
template <class Handler, class Team>
IPCQ_HOST_DEVICE void call(const Handler& handler, HandlerMessage& message, const Team& team, const State& state) {
  const std::uint64_t before = message.length;
  if (!accepts(handler, before)) {
    message.outcome = detail::kRefusedOutcome;
  } else if constexpr (requires { handler(message, team, state); }) {
    handler(message, team, state);
  } else if constexpr (requires { handler(message, team); }) {
    handler(message, team);
  } else if constexpr (requires { handler(message.data, before, team, state); }) {
    handler(message.data, before, team, state);
  } else {
    handler(message.data, before, team);
  }
  if (message.length <= message.capacity) return;
  message.length = before;  // written without resize()
  message.fail(1);
}

}  // namespace handlers
}  // namespace ipcq
