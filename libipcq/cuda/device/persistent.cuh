// The persistent kernel. The scout, warp 0 of block 0, polls the `in` lines, processes inline messages itself and turns
// messages in slots into tasks (dispatch.cuh); the other warps of block 0 help it with a backlog of inline messages;
// the other blocks work on tasks (worker.cuh). docs/design/cuda.md, "Executors".
//
// One launch per queue at a time. Invariants: lines are looked at in the order of tickets; a launch ends with all
// its dispatched messages finished, its resume point in the Mailbox, and the next launch's WorkArea zeroed.
#pragma once

#include "device/dispatch.cuh"

namespace ipcq::device {

inline constexpr std::uint64_t kArrivalPatience = 10'000'000;  // ns after which an incomplete line counts as damaged
inline constexpr std::uint64_t kLatePatience = 1'000'000;      // ns that the kernel stays for late payloads alone
// How many looks at lines come between two checks of Mailbox::stop and the clock, two stores of the counters, and two
// dispatches while a backlog comes in. inline/ipcq of gpu_bench comes to 23.7 M/s and bulk/4k to 7.6 GB/s each way with
// them (H200, CUDA 13.0); no comparison with other values is recorded.
inline constexpr unsigned kLooksPerCheck = 64;
inline constexpr unsigned kLooksPerShow = 16;
inline constexpr unsigned kLooksPerDispatch = 8;

// The barrier of all warps of block 0, which the scout and the others call at different places.
__device__ inline void scout_barrier() { block_barrier<kBlockThreads>(); }

// Which of the lines [s.next, s.next + 4) a former launch has done, as their `out` tags tell: a bit at the first lane
// of each. Their `in` lines say nothing: they may have been written for the next lap.
__device__ inline std::uint32_t done_before(const QueueView& q, const ScoutState& s) {
  if (s.next >= s.limit) return 0;
  const std::uint64_t ticket = s.next + threadIdx.x % 32 / kLineUnits;
  const bool first = threadIdx.x % kLineUnits == 0 && ticket < s.limit;
  const auto tag = static_cast<std::uint32_t>(lap_of(q, ticket));
  return __ballot_sync(~0u, first && load_unit(&q.out[first_unit(q, ticket)]).word[kTagWord] == tag);
}

// Stores the counters that have changed to host memory.
__device__ inline void show(const QueueView& q, const WorkArea* area, Scout& shared, const ScoutState& s) {
  if (threadIdx.x % 32 == 0) {
    const std::uint64_t now[kExecutorCounters] = {s.counted[kProcessedCounter] + load_acquire_device(&area->completed),
                                                  s.counted[kFailedCounter] + load_acquire_device(&area->failed),
                                                  s.counted[kDamagedCounter], s.next};
    for (unsigned i = 0; i < kExecutorCounters; ++i) {
      if (now[i] != shared.shown[i]) store_relaxed_system(&q.counters[i], now[i]);
      shared.shown[i] = now[i];
    }
  }
  __syncwarp();
}

// The next four lines. While there is a backlog the lines of kAhead looks are read at once, which takes one latency of
// PCIe. A line that was not complete when it was read ahead ends the backlog, and is read again.
__device__ inline LaneLine next_lines(const QueueView& q, Scout& shared, ScoutState& s) {
  const unsigned lane = threadIdx.x % 32;
  if (!s.backlog) return lines_of(q, s.next, load_lane(q, s.next));
  if (s.ahead == 0) {
    DeviceUnit unit[kAhead];  // all loads are issued before the first value is used
#pragma unroll
    for (unsigned i = 0; i < kAhead; ++i) unit[i] = load_lane(q, s.next + i * kWarpLines);
#pragma unroll
    for (unsigned i = 0; i < kAhead; ++i) shared.lines.scout.ahead[i][lane] = unit[i];
    s.ahead = kAhead;
  }
  return lines_of(q, s.next, shared.lines.scout.ahead[kAhead - s.ahead--][lane]);
}

// Of a serial handler: whether the messages in slots that the scout has taken are finished, so that the next message is
// due. By all lanes, each of which may then look at the state.
__device__ inline bool is_next_due(const WorkArea* area, const ScoutState& s) {
  // SYNC device-serial (acquire, device): the state as the worker left it. Pairs with: end_share.
  return s.late == 0 && __shfl_sync(~0u, load_acquire_device(&area->completed), 0) == s.dispatched;
}

// One look at the next four lines: takes those that are complete, up to the first that is not or has no room in
// Scout::lines.scout.late. Returns their number.
template <class Handler>
__device__ unsigned take_lines(const QueueView& q, const WorkArea* area, Scout& shared, ScoutState& s) {
  if constexpr (kIsSerial<Handler>) {
    if (!is_next_due(area, s)) return 0;
  }
  LaneLine l = next_lines(q, shared, s);
  const std::uint32_t again = done_before(q, s);
  if ((again >> (threadIdx.x % 32 - l.unit) & 1) != 0) l.seen = Seen::absent;
  if (l.seen == Seen::arriving && l.ticket == s.next && s.arriving_since != 0 &&
      global_time_ns() - s.arriving_since > kArrivalPatience) {
    l.seen = Seen::present;  // its writer has stopped half-way: damaged
    l.kind = kNoKind;
  }
  const bool present = l.seen == Seen::present;
  // One bit per line, at the lane of its unit 0.
  const std::uint32_t heads = __ballot_sync(~0u, present && l.unit == 0) | again;
  const std::uint32_t slots = __ballot_sync(~0u, present && l.unit == 0 && l.kind == kSlot);
  const std::uint32_t controls = __ballot_sync(~0u, present && l.unit == 0 && l.kind == kControl);
  const bool head_arrives = __shfl_sync(~0u, static_cast<int>(l.seen), 0) == static_cast<int>(Seen::arriving);
  s.arriving_since = !head_arrives ? 0 : s.arriving_since != 0 ? s.arriving_since : global_time_ns();
  unsigned taken = 0;
  bool ended = false;
  s.slots = slots != 0;
  while (taken < kWarpLines && !ended && (heads >> (taken * kLineUnits) & 1) != 0) {
    if ((slots >> (taken * kLineUnits) & 1) != 0 && s.late == kLate) break;
    const bool mine = threadIdx.x % 32 / kLineUnits == taken;
    if ((slots >> (taken * kLineUnits) & 1) != 0) {
      take_slot_message(shared, s, l, taken);
      if (mine) l.seen = Seen::absent;
      if constexpr (kIsSerial<Handler>) ended = true;  // the lines after it wait for it
    } else if ((controls >> (taken * kLineUnits) & 1) != 0) {
      ended = true;  // the lines after it belong to the executor that it names
      const std::uint32_t op = __shfl_sync(~0u, l.mine.word[0], taken * kLineUnits + kSequenceUnit);
      if (op == static_cast<std::uint32_t>(ControlOp::switch_to_persistent)) s.reason = EndReason::to_persistent;
      if (op == static_cast<std::uint32_t>(ControlOp::switch_to_stream)) s.reason = EndReason::to_stream;
    }
    ++taken;
  }
  const bool mine = threadIdx.x % 32 / kLineUnits < taken && l.seen == Seen::present;
  std::uint32_t counts[kExecutorSums] = {};
  process_inlined<Handler>(q, l, mine, shared.buffer[0], counts[kProcessedCounter], counts[kFailedCounter],
                           counts[kDamagedCounter]);
  for (unsigned i = 0; i < kExecutorSums; ++i) s.counted[i] += __popc(__ballot_sync(~0u, counts[i] != 0));
  s.next += taken;
  s.backlog = taken == kWarpLines;
  if (!s.backlog) s.ahead = 0;
  return taken;
}

// How many of the warp's four lines, from the first on, are complete inline messages or tombstones.
__device__ inline unsigned in_row(const LaneLine& l) {
  const bool mine = l.seen == Seen::present && (l.kind == kInlined || l.kind == kTombstone);
  const std::uint32_t heads = __ballot_sync(~0u, mine && l.unit == 0);
  unsigned present = 0;
  while (present < kWarpLines && (heads >> (present * kLineUnits) & 1) != 0) ++present;
  return present;
}

// Whether several warps may work on lines at once.
template <class Handler>
inline constexpr bool kBursts = !kHasScratch<Handler> && !kIsSerial<Handler>;

// One round of all warps of block 0 over the lines from burst_first on, burst_looks looks of four lines a warp, whose
// loads are under way together: processes inline messages up to the first line that is missing or of another kind.
// Called by all threads of block 0. Returns, in each, the number of lines. Not in line, nor is run_bursts(): the
// scout's looks for single messages would lose registers to them, and 50 ns.
template <class Handler>
IPCQ_NOINLINE __device__ unsigned burst(const QueueView& q, Scout& shared) {
  const unsigned warp = threadIdx.x / 32;
  const unsigned lane = threadIdx.x % 32;
  const unsigned looks = shared.burst_looks;
  const unsigned each = looks * kWarpLines;
  const std::uint64_t first = shared.burst_first + warp * each;
  if (looks == kBurstAhead) {
    DeviceUnit unit[kBurstAhead];  // all loads are issued before the first value is used
#pragma unroll
    for (unsigned i = 0; i < kBurstAhead; ++i) unit[i] = load_lane(q, first + i * kWarpLines);
#pragma unroll
    for (unsigned i = 0; i < kBurstAhead; ++i) shared.lines.burst[warp][i][lane] = unit[i];
  } else {
    shared.lines.burst[warp][0][lane] = load_lane(q, first);
  }
  unsigned present = 0;
  for (unsigned i = 0; i < looks && present == i * kWarpLines; ++i) {
    present += in_row(lines_of(q, first + i * kWarpLines, shared.lines.burst[warp][i][lane]));
  }
  if (lane == 0) shared.burst_present[warp] = present;
  scout_barrier();
  unsigned all = 0;
  for (unsigned w = 0; w < kBlockWarps && all == w * each; ++w) all += shared.burst_present[w];
  std::uint32_t sums[kExecutorSums] = {};
  for (unsigned i = 0; i < looks && all > warp * each + i * kWarpLines; ++i) {
    LaneLine l = lines_of(q, first + i * kWarpLines, shared.lines.burst[warp][i][lane]);
    std::uint32_t counts[kExecutorSums] = {};
    process_inlined<Handler>(q, l, i * kWarpLines + lane / kLineUnits < present, shared.buffer[warp],
                             counts[kProcessedCounter], counts[kFailedCounter], counts[kDamagedCounter]);
    for (unsigned c = 0; c < kExecutorSums; ++c) sums[c] += __popc(__ballot_sync(~0u, counts[c] != 0));
  }
  for (unsigned c = 0; c < kExecutorSums; ++c) {
    if (lane == 0 && sums[c] != 0) atomicAdd(&shared.burst_counts[c], sums[c]);
  }
  scout_barrier();
  return all;
}

// The scout's part in bursts: starts them as long as they find some lines, kLooksPerCheck at most. Returns their
// number. A round that has found 64 lines is followed by one that looks for more; lines that are not written yet are
// better not looked at.
template <class Handler>
IPCQ_NOINLINE __device__ unsigned run_bursts(const QueueView& q, Scout& shared, ScoutState& s, const WorkArea* area) {
  constexpr unsigned kLeast = kBlockWarps;  // of fewer lines the scout alone takes care
  constexpr unsigned kRound = kBlockWarps * kWarpLines;
  const bool fits = std::uint64_t{1} << q.lines_log2 >= kBurstAhead * kRound;  // the ring has so many lines
  unsigned all = kLeast;
  unsigned looks = 1;
  unsigned round = 0;
  s.ahead = 0;
  for (; all >= kLeast && round < kLooksPerCheck; ++round) {
    if (threadIdx.x == 0) {
      shared.burst_first = s.next;
      shared.burst_looks = looks;
      for (auto& c : shared.burst_counts) c = 0;
    }
    scout_barrier();  // the other warps wait here for a burst
    all = burst<Handler>(q, shared);
    s.next += all;
    looks = fits && all >= kRound ? kBurstAhead : 1;
    for (unsigned i = 0; i < kExecutorSums; ++i) s.counted[i] += shared.burst_counts[i];
    show(q, area, shared, s);
    __syncwarp();
  }
  return round;
}

// The scout's whole run: looks at lines until there is a reason to end, then writes the resume point.
template <class Handler>
__device__ void scout(const QueueView& q, WorkArea* area, Scout& shared, ScoutState& s, Mailbox* box,
                      std::uint64_t park_after_ns) {
  s.busy_at = global_time_ns();
  // A launch that is to end before it has looked at a line: QueueRunner::launch_in_vain.
  if (__shfl_sync(~0u, load_relaxed_system(&box->stop), 0) != 0) s.reason = EndReason::stop;
  unsigned checked = 0;
  for (unsigned looks = 1; s.reason == EndReason::none; ++looks) {
    const unsigned taken = take_lines<Handler>(q, area, shared, s);
    // While lines come in, messages are collected, so that many are dispatched together.
    if (s.late != 0 && (taken != kWarpLines || s.late >= 32 || looks % kLooksPerDispatch == 0)) {
      dispatch_ready<Handler>(q, area, shared, s);
    }
    if constexpr (kBursts<Handler>) {
      if (taken == kWarpLines && !s.slots && s.late == 0 && s.next >= s.limit && s.reason == EndReason::none) {
        looks += run_bursts<Handler>(q, shared, s, area);
      }
    }
    if (taken != 0 || s.blocked || s.arriving_since != 0) s.busy_at = 0;
    if ((taken != 0 && !s.backlog) || looks % kLooksPerShow == 0) show(q, area, shared, s);
    if (looks - checked < kLooksPerCheck || s.reason != EndReason::none) continue;
    checked = looks;
    if (load_relaxed_system(&box->stop) != 0) s.reason = EndReason::stop;
    const std::uint64_t now = global_time_ns();
    if (s.busy_at == 0 || load_acquire_device(&area->completed) != s.dispatched) s.busy_at = now;
    const std::uint64_t idle = now - s.busy_at;
    if (s.reason == EndReason::none) {
      // The kernels that write the late payloads may need the multiprocessors that this kernel occupies.
      if (s.late != 0 && idle > kLatePatience) s.reason = EndReason::late;
      if (s.late == 0 && idle > park_after_ns) s.reason = EndReason::idle;
    }
    // The lanes may have loaded different values: all take lane 0's.
    s.reason = static_cast<EndReason>(__shfl_sync(~0u, static_cast<std::uint32_t>(s.reason), 0));
    s.busy_at = __shfl_sync(~0u, s.busy_at, 0);
  }
  // What then still waits for its payload is left to the next launch, or to the executor that takes over.
  if (s.late != 0) dispatch_ready<Handler>(q, area, shared, s);
  while (load_acquire_device(&area->completed) != s.dispatched) __nanosleep(100);
  show(q, area, shared, s);
  if (threadIdx.x == 0) {
    box->resume = s.late != 0 ? shared.lines.scout.late[0].ticket : s.next;
    box->limit = s.next > s.limit ? s.next : s.limit;
    box->reason = s.reason;
    fence_system();
    store_release_device(&area->quit, s.tasks + 1);
    shared.quit = true;
  }
  scout_barrier();  // the other warps see `quit`, and leave their loop
}

template <class Handler>
__device__ void run_persistent(const QueueView& q, WorkArea* area, WorkArea* next_area, Mailbox* box,
                               std::uint64_t resume, std::uint64_t limit, std::uint64_t park_after_ns) {
  if (blockIdx.x != 0) return work<Handler>(q, area, box);
  __shared__ Scout shared;
  if (threadIdx.x == 0) {
    store_relaxed_system(&box->scouts, 1);
    shared.quit = false;
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    ScoutState s;
    s.next = resume;
    s.limit = limit;
    if (threadIdx.x < kExecutorCounters) shared.shown[threadIdx.x] = load_acquire_system(&q.counters[threadIdx.x]);
    __syncwarp();
    for (unsigned i = 0; i < kExecutorSums; ++i)
      s.counted[i] = shared.shown[i];  // the counters continue from the former launch
    scout<Handler>(q, area, shared, s, box, park_after_ns);
  } else {
    for (;;) {
      scout_barrier();
      if (shared.quit) break;
      if constexpr (kBursts<Handler>) burst<Handler>(q, shared);
    }
  }
  static_assert(sizeof(WorkArea) % sizeof(uint4) == 0);
  for (unsigned i = threadIdx.x; i < sizeof(WorkArea) / sizeof(uint4); i += kBlockThreads) {
    reinterpret_cast<uint4*>(next_area)[i] = uint4{};
  }
}

}  // namespace ipcq::device
