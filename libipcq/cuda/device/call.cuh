// How the kernels call a handler: with which lanes, and what they learn of it. handle.cuh says for which message.
//
// Two ways. A plain handler (kIsPlain) changes bytes and no more: its lanes need no order, and what its message becomes
// is known before. For all others each call makes a HandlerMessage, and the lane of rank 0 has the result.
#pragma once

#include "device/line.cuh"
#include "ipcq/handler.hpp"
#include "layout/handle_records.hpp"
#include "layout/verdict.hpp"

// How the function that calls the handler is declared; in line, unless quick_call.cuh has it compiled once.
#if !defined(IPCQ_CALL_OF_HANDLER)
#define IPCQ_CALL_OF_HANDLER
#endif

namespace ipcq::device {

using detail::kTimeUnit;
using detail::Team;

inline constexpr unsigned kInlineBuffer =  // most inline bytes in whole 16-byte words
    (kInlineBytes + sizeof(uint4) - 1) / sizeof(uint4) * sizeof(uint4);

// The handler that the kernels call. Where a user's has parameters, device/user_kernels.cuh has one with those of the
// queue, and the queue's state().
template <class Handler>
struct Instance {
  __device__ static Handler get() { return Handler(); }
};

// Lanes that can wait for each other: one, a warp, or a block.
template <bool has_scratch>
struct CloseTeam {
  std::uint32_t my_rank;
  std::uint32_t my_size;
  std::byte* shared;
  __device__ std::uint64_t rank() const { return my_rank; }
  __device__ std::uint64_t size() const { return my_size; }
  __device__ void sync() const {
    if (my_size == kBlockThreads) {
      __syncthreads();
    } else if (my_size == 32) {
      __syncwarp();
    }
  }
  __device__ std::byte* scratch() const {
    static_assert(has_scratch, IPCQ_NO_SCRATCH);
    return shared;
  }
};

template <class Handler>
inline constexpr Sharing kSharing = handlers::sharing_of<Handler>();
template <Sharing sharing, bool has_scratch>
struct TeamFor {
  using Type = CloseTeam<has_scratch>;
};
template <bool has_scratch>
struct TeamFor<Sharing::all, has_scratch> {
  using Type = Team;
};
template <class Handler>
inline constexpr bool kHasScratch = handlers::scratch_bytes_of<Handler>() != 0;
template <class Handler>
using TeamOf = TeamFor<kSharing<Handler>, kHasScratch<Handler>>::Type;

template <class Handler>
inline constexpr bool kTakesMessage = requires(const Handler& h, HandlerMessage& m, const TeamOf<Handler>& t) {
  h(m, t);
};
template <class Handler>
inline constexpr bool kTakesState = handlers::TakesState<Handler, TeamOf<Handler>>;
// Whether messages are handled one at a time, in their order (ipcq::State).
template <class Handler>
inline constexpr bool kIsSerial = handlers::Serial<Handler, TeamOf<Handler>>;
template <class Handler>
inline constexpr bool kIsPlain = !kTakesMessage<Handler> && !kTakesState<Handler> && kSharing<Handler> == Sharing::all;
// Whether a message in a slot is for one block, however long it is.
template <class Handler>
inline constexpr bool kIsForOneBlock = kSharing<Handler> != Sharing::all;

// Blocks of a kernel for which a multiprocessor has registers: two leave 64 for each lane.
template <class Handler>
inline constexpr unsigned kBlocksAtOnce = handlers::is_heavy<Handler>() ? 1 : 2;

// Lanes of a team within a warp, which works on a message in its line or on a record.
template <class Handler>
inline constexpr unsigned kLanes = kSharing<Handler> == Sharing::thread ? 1 : 32;

// Memory for one team of the block: teams that have some work one after the other.
template <class Handler>
__device__ std::byte* scratch_of() {
  if constexpr (kHasScratch<Handler>) {
    alignas(16) __shared__ unsigned char bytes[handlers::scratch_bytes_of<Handler>()];
    return reinterpret_cast<std::byte*>(bytes);
  } else {
    return nullptr;
  }
}

// What a thread has kept for others. By one that has synchronised with the one that wrote it.
__device__ inline CallResult load_result(const CallResult* result) {
  const auto* const there = reinterpret_cast<const volatile std::uint32_t*>(result);
  return {there[0], there[1]};
}

// As the handler takes it: of lanes within a warp, or of a block.
template <class Handler>
__device__ TeamOf<Handler> team_of(unsigned rank, unsigned size) {
  if constexpr (kSharing<Handler> == Sharing::all) {
    return Team{rank, size};
  } else {
    return TeamOf<Handler>{rank, size, scratch_of<Handler>()};
  }
}

// Of the lane of rank 0: what the line of the message is to say.
template <class Handler>
IPCQ_CALL_OF_HANDLER __device__ CallResult call(HandlerMessage& m, const TeamOf<Handler>& team) {
  State state{};
  if constexpr (kTakesState<Handler>) state = Instance<Handler>::state();
  handlers::call(Instance<Handler>::get(), m, team, state);
  return {static_cast<std::uint32_t>(m.length), m.outcome};
}

__device__ inline CallResult broadcast(const CallResult& mine, unsigned from) {
  return {__shfl_sync(~0u, mine.length, from), __shfl_sync(~0u, mine.outcome, from)};
}

// Of the line whose first lane is `leader`. Called by all lanes of the warp.
__device__ inline HandlerMessage message_in_line(const LaneLine& l, unsigned leader, std::uint8_t* data) {
  HandlerMessage m;
  m.data = reinterpret_cast<std::byte*>(data);
  m.length = __shfl_sync(~0u, l.length, leader);
  m.capacity = (kLineUnits - __shfl_sync(~0u, l.data_unit, leader)) * kUnitBytes;
  m.ticket = __shfl_sync(~0u, l.ticket, leader);
  m.producer = __shfl_sync(~0u, l.mine.word[kThirdWord], leader);
  const std::uint64_t low = __shfl_sync(~0u, l.mine.word[0], leader + kSequenceUnit);
  m.sequence = low | std::uint64_t{__shfl_sync(~0u, l.mine.word[1], leader + kSequenceUnit)} << 32;
  return m;
}

// Calls the handler for those of the warp's four lines whose lanes have `mine`; their payloads are in `buffer`. Called
// by all lanes of the warp, each of which learns the result of its own line.
template <class Handler>
__device__ CallResult call_for_lines(const LaneLine& l, bool mine, std::uint8_t (*buffer)[kInlineBuffer]) {
  const unsigned lane = threadIdx.x % 32;
  if constexpr (kSharing<Handler> != Sharing::all && (kLanes<Handler> != 1 || kHasScratch<Handler>)) {
    CallResult result{l.length, 0};
    for (unsigned w = 0; w < kWarpLines; ++w) {
      HandlerMessage m = message_in_line(l, w * kLineUnits, buffer[w]);
      if (__shfl_sync(~0u, static_cast<int>(mine), w * kLineUnits) == 0) continue;
      CallResult one{};
      if (lane < kLanes<Handler>) one = call<Handler>(m, team_of<Handler>(lane, kLanes<Handler>));
      one = broadcast(one, 0);
      if (lane / kLineUnits == w) result = one;
      __syncwarp();  // before the scratch memory is the next call's
    }
    return result;
  } else {
    const unsigned leader = lane - l.unit;
    HandlerMessage m = message_in_line(l, leader, buffer[lane / kLineUnits]);
    CallResult result{l.length, 0};
    constexpr unsigned kShare = kSharing<Handler> == Sharing::all ? kLineUnits : 1;
    constexpr unsigned kTurns = kIsSerial<Handler> ? kWarpLines : 1;
    for (unsigned turn = 0; turn < kTurns; ++turn) {
      const bool now = kTurns == 1 || lane / kLineUnits == turn;
      if (mine && now && l.unit < kShare) result = call<Handler>(m, team_of<Handler>(l.unit, kShare));
      __syncwarp();  // the next message's lanes observe what these have written
    }
    return broadcast(result, leader);
  }
}

__device__ inline std::uint8_t* payload_of(const QueueView& q, const SlotMessage& m) {
  return q.payload + m.slot * q.stride;
}

__device__ inline HandlerMessage message_in_slot(const QueueView& q, const SlotMessage& s, std::byte* payload) {
  HandlerMessage m;
  m.data = payload;
  m.length = s.length;
  m.capacity = q.slot_bytes;
  m.ticket = s.ticket;
  m.sequence = s.unit[kSequenceUnit][0] | std::uint64_t{s.unit[kSequenceUnit][1]} << 32;
  m.published_at_ns = s.unit[kTimeUnit][0] | std::uint64_t{s.unit[kTimeUnit][1]} << 32;
  m.producer = s.unit[0][kThirdWord];
  return m;
}

// Calls the handler for this lane's share of the records of a batch: for a record each, lanes of its team.
template <class Handler>
__device__ void call_for_records(const HandlerMessage& batch, const Team& team) {
  const auto record = [&](std::byte* data, std::uint64_t length, const auto& lanes, std::uint32_t number) {
    HandlerMessage m = detail::record_of(batch, data, length, number);
    return call<Handler>(m, lanes).outcome;
  };
  const Records records(batch.data, batch.length);
  if constexpr (kSharing<Handler> == Sharing::all && !kIsSerial<Handler>) {
    (void)detail::handle_records(batch.data, batch.length, team, record);
  } else if constexpr (kSharing<Handler> == Sharing::thread && !kHasScratch<Handler> && !kIsSerial<Handler>) {
    const auto alone = [&](std::byte* data, std::uint64_t length, const Team&, std::uint32_t number) {
      return record(data, length, team_of<Handler>(0, 1), number);
    };
    (void)detail::handle_records(batch.data, records, team, 0, alone);
  } else {
    // A warp for each. Its lanes wait for each other, so all go by what the first has read, whatever other processes
    // write into the index.
    constexpr unsigned kWarps = kHasScratch<Handler> || kIsSerial<Handler> ? 1 : kBlockWarps;
    const unsigned lane = threadIdx.x % 32;
    const std::uint64_t warp = team.rank() / 32;
    if (warp >= kWarps) return;
    const std::uint32_t count = __shfl_sync(~0u, records.size(), 0);
    for (auto i = static_cast<std::uint32_t>(warp); i < count; i += kWarps) {
      RecordPlace place;
      const bool there = lane == 0 && records.get(i, place);
      if (__shfl_sync(~0u, static_cast<int>(there), 0) == 0) continue;
      std::byte* const data = batch.data + __shfl_sync(~0u, place.at, 0);
      const std::uint64_t length = __shfl_sync(~0u, place.length, 0);
      std::uint32_t outcome = 0;
      if (lane < kLanes<Handler>) {
        outcome = record(data, length, team_of<Handler>(lane, kLanes<Handler>), i);
      }
      if (lane == 0) detail::mark_record(batch.data, records, i, place, detail::mark_of(outcome));
      __syncwarp();  // before the scratch memory is the next call's
    }
  }
}

// Calls the handler for this lane's share of a message in a slot.
template <class Handler>
__device__ CallResult call_for_slot(const QueueView& q, const SlotMessage& s, const Team& team) {
  HandlerMessage m = message_in_slot(q, s, reinterpret_cast<std::byte*>(payload_of(q, s)));
  if ((s.flags & kRecords) != 0) {
    call_for_records<Handler>(m, team);
  } else if constexpr (kSharing<Handler> == Sharing::all) {
    return call<Handler>(m, team);
  } else {
    constexpr unsigned kMany = kSharing<Handler> == Sharing::block ? kBlockThreads : kLanes<Handler>;
    if (threadIdx.x < kMany) return call<Handler>(m, team_of<Handler>(threadIdx.x, kMany));
  }
  return {s.length, 0};
}

}  // namespace ipcq::device
