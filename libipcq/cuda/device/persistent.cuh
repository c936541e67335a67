// The persistent kernel. Block 0 scouts: its first warp watches the `in` lines, works on inline messages itself and
// turns messages in slots into tasks; its other warps help while there is a backlog of inline messages. The other
// blocks work on tasks, all in the same order. docs/design/cuda.md, "Executors".
#pragma once

#include "device/worker.cuh"

namespace ipcq::device {

inline constexpr unsigned kWarps = kBlockThreads / 32;
inline constexpr unsigned kLate = 128;                         // messages that wait for their payload, at most
inline constexpr std::uint64_t kArrivalPatience = 10'000'000;  // ns that the units of one line may come apart
inline constexpr unsigned kLooksPerCheck = 64;
inline constexpr unsigned kLooksPerShow = 16;
inline constexpr unsigned kLooksPerDispatch = 8;
inline constexpr unsigned kAhead = 4;  // looks' worth of lines that are read at once while there is a backlog

// All warps of block 0 meet, each where its own part of the work is.
__device__ inline void scout_barrier() { block_barrier<kBlockThreads>(); }

// What block 0's warps share.
struct Scout {
  alignas(16) std::uint8_t buffer[kWarps][kWarpLines][kInlineBuffer];
  SlotMessage late[kLate];
  DeviceUnit ahead[kAhead][32];
  std::uint64_t shown[4];  // what the counters in host memory say
  std::uint64_t burst_first;
  std::uint32_t burst_present[kWarps];
  std::uint32_t burst_counts[3];  // processed, failed, damaged
  bool quit;
};

// Local to the scout's warp; every lane has the same.
struct ScoutState {
  std::uint64_t next;            // first ticket not looked at
  std::uint64_t limit;           // tickets before this one may be done already
  std::uint64_t counted[3];      // inline messages: processed, failed, damaged
  std::uint64_t tasks = 0;       // in the ring so far
  std::uint64_t dispatched = 0;  // messages that became tasks
  std::uint32_t workers = 0;     // enlisted
  std::uint64_t behind = 0;      // tasks that every worker has behind it, as last seen
  std::uint64_t arriving_since = 0;
  std::uint64_t busy_at = 0;  // last time that anything was to do
  std::uint32_t late = 0;
  std::uint32_t ahead = 0;  // looks whose lines have been read already
  bool backlog = false;     // the last look took all its lines
  bool slots = false;       // and among them messages in slots
  EndReason reason = EndReason::none;
};

// Which of the lines [s.next, s.next + 4) were done by a former launch, which had looked at them: a bit for the first
// lane of each. Whatever their `in` lines say, which may serve the next lap already.
__device__ inline std::uint32_t done_before(const QueueView& q, const ScoutState& s) {
  if (s.next >= s.limit) return 0;
  const std::uint64_t ticket = s.next + threadIdx.x % 32 / kLineUnits;
  const bool first = threadIdx.x % kLineUnits == 0 && ticket < s.limit;
  const auto tag = static_cast<std::uint32_t>(lap_of(q, ticket));
  return __ballot_sync(~0u, first && load_unit(&q.out[first_unit(q, ticket)]).word[3] == tag);
}

// Lets the blocks that have come take part from the next task on.
__device__ inline void enlist(WorkArea* area, ScoutState& s) {
  if (s.workers == gridDim.x - 1) return;
  const std::uint32_t present = __shfl_sync(~0u, load_acquire_device(&area->present), 0);
  for (std::uint32_t w = s.workers + threadIdx.x % 32; w < present; w += 32) {
    area->progress[w] = s.tasks;
    // SYNC device-enlist (release, device). Pairs with: work.
    store_release_device(&area->start[w], s.tasks + 1);
  }
  s.workers = present;
  __syncwarp();
}

// Room in the ring for `want` tasks: those that every worker has behind it.
__device__ inline void await_room(WorkArea* area, ScoutState& s, unsigned want) {
  const unsigned lane = threadIdx.x % 32;
  while (s.tasks + want - s.behind > kTasks - 1) {
    std::uint64_t least = ~std::uint64_t{0};
    for (unsigned w = lane; w < s.workers; w += 32) {
      const std::uint64_t p = load_acquire_device(&area->progress[w]);
      least = p < least ? p : least;
    }
    for (unsigned other = 16; other > 0; other /= 2) {
      const std::uint64_t theirs = __shfl_xor_sync(~0u, least, other);
      least = theirs < least ? theirs : least;
    }
    s.behind = least;
  }
}

// Who takes part in a task.
struct Crew {
  std::uint64_t whose;    // kEveryone, kEven, kOdd, or a worker's number
  std::uint32_t workers;  // how many they are
  std::uint32_t step;
};

// By one lane; room has been made.
__device__ inline void push_task(WorkArea* area, std::uint64_t at, const Crew& crew, const SlotMessage& m, Stage stage,
                                 std::uint32_t awaited, bool last) {
  Task* const task = &area->task[at % kTasks];
  task->stage = stage;
  task->workers = crew.workers;
  task->step = crew.step;
  task->last = last;
  task->awaited = awaited;
  task->done = 0;
  task->message = m;
  // SYNC device-task (release, device). Pairs with: find_task.
  store_release_device(&area->key[at % kTasks], task_key(at, crew.whose));
}

// A message that all workers share, and whose payload is there. The whole warp calls it with the same one.
__device__ inline void dispatch_to_all(const QueueView& q, WorkArea* area, ScoutState& s, const SlotMessage& m) {
  await_room(area, s, 3);
  const bool pull = (m.flags & kInMirror) != 0;
  const bool push = q.host_readable != 0;
  fence_system();  // who wrote the line wrote the payload before it; the line was read, by every lane, without an order
  __syncwarp();
  if (threadIdx.x % 32 == 0) {
    const bool halves = pull && push && s.workers > 1;
    const Crew all{kEveryone, s.workers, 1};
    const Crew in = halves ? Crew{kEven, (s.workers + 1) / 2, 2} : all;
    const Crew out = halves ? Crew{kOdd, s.workers / 2, 2} : all;
    std::uint64_t at = s.tasks;
    if (pull) push_task(area, at++, in, m, Stage::pull, 0, false);
    push_task(area, at++, out, m, Stage::handle, pull ? in.workers : 0, !push);
    if (push) push_task(area, at++, out, m, Stage::push, out.workers, true);
  }
  s.tasks += 1 + pull + push;
  ++s.dispatched;
  __syncwarp();
}

// Messages of one worker each: that of every lane with `mine`, whose payload is there. The whole warp calls it.
__device__ inline void dispatch_to_one(WorkArea* area, ScoutState& s, const SlotMessage& m, bool mine) {
  const std::uint32_t all = __ballot_sync(~0u, mine);
  if (all == 0) return;
  await_room(area, s, __popc(all));
  fence_system();  // as above
  __syncwarp();
  const std::uint64_t at = s.tasks + __popc(all & ((1u << threadIdx.x % 32) - 1));
  if (mine) {
    push_task(area, at, {at % s.workers, 1, 1}, m, Stage::whole, 0, true);
  }
  s.tasks += __popc(all);
  s.dispatched += __popc(all);
  __syncwarp();
}

// Moves the slot message of the warp's line `which` to the list of those that wait for their payload.
__device__ inline void take_slot_message(Scout& shared, ScoutState& s, const LaneLine& l, unsigned which) {
  if (threadIdx.x % 32 / kLineUnits == which) {
    SlotMessage& m = shared.late[s.late];
    if (l.unit < kMessageUnits) {
      for (unsigned i = 0; i < 3; ++i) m.unit[l.unit][i] = l.mine.word[i];
    }
    if (l.unit == 0) {
      m.ticket = l.ticket;
      m.length = l.length;
      m.flags = l.flags;
    }
    if (l.unit == 2) {
      m.lease = l.mine.word[0] | static_cast<std::uint64_t>(l.mine.word[1]) << 32;
      m.slot = l.mine.word[2];
    }
  }
  ++s.late;
  __syncwarp();
}

// Dispatches the messages whose payload has come, and passes over those whose payload never will.
__device__ inline void dispatch_ready(const QueueView& q, WorkArea* area, Scout& shared, ScoutState& s) {
  enlist(area, s);
  if (s.workers == 0) return;  // the GPU has no room for one yet
  const unsigned lane = threadIdx.x % 32;
  std::uint32_t kept = 0;
  for (std::uint32_t first = 0; first < s.late; first += 32) {
    const bool any = first + lane < s.late;
    const SlotMessage& m = shared.late[any ? first + lane : 0];
    const bool sound = is_sound(q, m);
    const bool written = !sound || (m.flags & kPayloadReady) != 0;
    // SYNC gpub (acquire, system): the payload. Pairs with: the loaner's stream, Repair.
    const bool ready = any && (written || load_acquire_system(&q.gpub[m.slot]) >= m.lease);
    const bool lost = ready && (!sound || (!written && load_acquire_system(&q.tomb[m.slot]) >= m.lease));
    const bool small = m.length < kSplitBytes;
    dispatch_to_one(area, s, m, ready && !lost && small);
    if (lost) write_message(q, m, kTombstone);
    s.counted[2] += __popc(__ballot_sync(~0u, lost));
    const std::uint32_t waits = __ballot_sync(~0u, any && !ready);
    const std::uint32_t large = __ballot_sync(~0u, ready && !lost && !small);
    for (std::uint32_t left = waits | large; left != 0; left &= left - 1) {
      const unsigned i = __ffs(left) - 1;
      if ((large >> i & 1) != 0) {
        dispatch_to_all(q, area, s, shared.late[first + i]);
      } else {
        if (lane == 0) shared.late[kept] = shared.late[first + i];
        ++kept;
        __syncwarp();
      }
    }
  }
  s.late = kept;
}

// Shows the counters to the CPU where they have changed.
__device__ inline void show(const QueueView& q, const WorkArea* area, Scout& shared, const ScoutState& s) {
  if (threadIdx.x % 32 == 0) {
    const std::uint64_t now[4] = {s.counted[0] + load_acquire_device(&area->completed),
                                  s.counted[1] + load_acquire_device(&area->failed), s.counted[2], s.next};
    for (unsigned i = 0; i < 4; ++i) {
      if (now[i] != shared.shown[i]) store_relaxed_system(&q.counters[i], now[i]);
      shared.shown[i] = now[i];
    }
  }
  __syncwarp();
}

// The next four lines. While there is a backlog the lines of several looks are read at once: over PCIe that takes no
// longer. A line that was not there when it was read ahead ends the look, and is read again.
__device__ inline LaneLine next_lines(const QueueView& q, Scout& shared, ScoutState& s) {
  const unsigned lane = threadIdx.x % 32;
  if (s.ahead == 0) {
    const unsigned looks = s.backlog ? kAhead : 1;
    DeviceUnit unit[kAhead];
#pragma unroll
    for (unsigned i = 0; i < kAhead; ++i) {
      if (i < looks) unit[i] = load_lane(q, s.next + i * kWarpLines);
    }
    if (looks == 1) return lines_of(q, s.next, unit[0]);
#pragma unroll
    for (unsigned i = 0; i < kAhead; ++i) shared.ahead[i][lane] = unit[i];
    s.ahead = kAhead;
  }
  return lines_of(q, s.next, shared.ahead[kAhead - s.ahead--][lane]);
}

// One look at the next four lines. Returns how many of them, in a row, it took.
template <class Handler>
__device__ unsigned look(const QueueView& q, Scout& shared, ScoutState& s) {
  LaneLine l = next_lines(q, shared, s);
  const std::uint32_t again = done_before(q, s);
  if ((again >> (threadIdx.x % 32 - l.unit) & 1) != 0) l.seen = Seen::absent;
  if (l.seen == Seen::arriving && l.ticket == s.next && s.arriving_since != 0 &&
      global_time_ns() - s.arriving_since > kArrivalPatience) {
    l.seen = Seen::present;  // its writer never wrote the rest: nonsense
    l.kind = 0;
  }
  const bool present = l.seen == Seen::present;
  // In a row: lines, each told by its unit 0's lane.
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
    } else if ((controls >> (taken * kLineUnits) & 1) != 0) {
      ended = true;  // what it asks for is read from unit 1
      const std::uint32_t op = __shfl_sync(~0u, l.mine.word[0], taken * kLineUnits + 1);
      if (op == 1) s.reason = EndReason::to_persistent;
      if (op == 2) s.reason = EndReason::to_stream;
    }
    ++taken;
  }
  const bool mine = threadIdx.x % 32 / kLineUnits < taken && l.seen == Seen::present;
  std::uint32_t counts[3] = {};
  process_inlined<Handler>(q, l, mine, shared.buffer[0], counts[0], counts[1], counts[2]);
  for (unsigned i = 0; i < 3; ++i) s.counted[i] += __popc(__ballot_sync(~0u, counts[i] != 0));
  s.next += taken;
  s.backlog = taken == kWarpLines;
  if (!s.backlog) s.ahead = 0;
  return taken;
}

// One round of all warps of block 0 over the inline messages from burst_first on. Returns, in every thread, how many
// lines in a row were there.
template <class Handler>
__device__ unsigned burst(const QueueView& q, Scout& shared) {
  const unsigned warp = threadIdx.x / 32;
  LaneLine l = read_lines(q, shared.burst_first + warp * kWarpLines);
  const bool mine = l.seen == Seen::present && (l.kind == kInlined || l.kind == kTombstone);
  const std::uint32_t heads = __ballot_sync(~0u, mine && l.unit == 0);
  unsigned present = 0;
  while (present < kWarpLines && (heads >> (present * kLineUnits) & 1) != 0) ++present;
  if (threadIdx.x % 32 == 0) shared.burst_present[warp] = present;
  scout_barrier();
  unsigned all = 0;
  for (unsigned w = 0; w < kWarps && all == w * kWarpLines; ++w) all += shared.burst_present[w];
  const bool in_row = all > warp * kWarpLines;
  std::uint32_t counts[3] = {};
  process_inlined<Handler>(q, l, in_row && mine && threadIdx.x % 32 / kLineUnits < present, shared.buffer[warp],
                           counts[0], counts[1], counts[2]);
  for (unsigned i = 0; i < 3; ++i) {
    const std::uint32_t sum = __popc(__ballot_sync(~0u, counts[i] != 0));
    if (threadIdx.x % 32 == 0 && sum != 0) atomicAdd(&shared.burst_counts[i], sum);
  }
  scout_barrier();
  return all;
}

// The scout's side of bursts: as long as they are full.
template <class Handler>
__device__ void run_bursts(const QueueView& q, Scout& shared, ScoutState& s, const WorkArea* area) {
  unsigned all = kWarps * kWarpLines;
  s.ahead = 0;
  for (unsigned round = 0; all == kWarps * kWarpLines && round < kLooksPerCheck; ++round) {
    if (threadIdx.x == 0) {
      shared.burst_first = s.next;
      for (auto& c : shared.burst_counts) c = 0;
    }
    scout_barrier();  // the others wait for this one
    all = burst<Handler>(q, shared);
    s.next += all;
    for (unsigned i = 0; i < 3; ++i) s.counted[i] += shared.burst_counts[i];
    show(q, area, shared, s);
    __syncwarp();
  }
}

template <class Handler>
__device__ void scout(const QueueView& q, WorkArea* area, Scout& shared, ScoutState& s, Mailbox* box,
                      std::uint64_t park_after_ns) {
  s.busy_at = global_time_ns();
  for (unsigned looks = 1; s.reason == EndReason::none; ++looks) {
    const unsigned taken = look<Handler>(q, shared, s);
    // Many at once, as long as more come.
    if (s.late != 0 && (taken != kWarpLines || s.late >= 32 || looks % kLooksPerDispatch == 0)) {
      dispatch_ready(q, area, shared, s);
    }
    if (taken == kWarpLines && !s.slots && s.late == 0 && s.next >= s.limit && s.reason == EndReason::none) {
      run_bursts<Handler>(q, shared, s, area);
    }
    if (taken != 0 || s.late != 0) s.busy_at = 0;
    if ((taken != 0 && !s.backlog) || looks % kLooksPerShow == 0) show(q, area, shared, s);
    if (looks % kLooksPerCheck != 0 || s.reason != EndReason::none) continue;
    if (load_relaxed_system(&box->stop) != 0) s.reason = EndReason::stop;
    const std::uint64_t now = global_time_ns();
    if (s.busy_at == 0 || load_acquire_device(&area->completed) != s.dispatched) s.busy_at = now;
    if (now - s.busy_at > park_after_ns && s.reason == EndReason::none) s.reason = EndReason::idle;
    // Every lane has the same: lane 0's view.
    s.reason = static_cast<EndReason>(__shfl_sync(~0u, static_cast<std::uint32_t>(s.reason), 0));
    s.busy_at = __shfl_sync(~0u, s.busy_at, 0);
  }
  // Before a hand-over everything that was published before it is done. A stop leaves what waits for its payload to the
  // next launch, or to the executor that is handed over to.
  bool stop = s.reason == EndReason::stop;
  if (s.late != 0) dispatch_ready(q, area, shared, s);
  while (s.late != 0 && !stop) {
    dispatch_ready(q, area, shared, s);
    stop = __shfl_sync(~0u, load_relaxed_system(&box->stop), 0) != 0;
  }
  while (load_acquire_device(&area->completed) != s.dispatched) __nanosleep(100);
  show(q, area, shared, s);
  if (threadIdx.x == 0) {
    box->resume = s.late != 0 ? shared.late[0].ticket : s.next;
    box->limit = s.next > s.limit ? s.next : s.limit;
    box->reason = s.reason;
    fence_system();
    store_release_device(&area->quit, s.tasks + 1);
    shared.quit = true;
  }
  scout_barrier();  // lets the other warps go
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
    if (threadIdx.x < 4) shared.shown[threadIdx.x] = load_acquire_system(&q.counters[threadIdx.x]);
    __syncwarp();
    for (unsigned i = 0; i < 3; ++i) s.counted[i] = shared.shown[i];  // the counters go on from where they were
    scout<Handler>(q, area, shared, s, box, park_after_ns);
  } else {
    for (;;) {
      scout_barrier();
      if (shared.quit) break;
      burst<Handler>(q, shared);
    }
  }
  static_assert(sizeof(WorkArea) % sizeof(uint4) == 0);
  for (unsigned i = threadIdx.x; i < sizeof(WorkArea) / sizeof(uint4); i += kBlockThreads) {
    reinterpret_cast<uint4*>(next_area)[i] = uint4{};
  }
}

}  // namespace ipcq::device
