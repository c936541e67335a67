// How the persistent kernel's scout turns messages in slots into tasks for the workers (worker.cuh). A message waits in
// Scout::lines.scout.late until its payload is complete; persistent.cuh reads the lines and puts messages there.
//
// Called by the scout, warp 0 of block 0, all lanes together unless a comment says otherwise. Invariants: the scout
// alone writes tasks and keys; a task is written before its key, and its place is reused only after every enlisted
// worker has finished or skipped it.
#pragma once

#include "device/worker.cuh"

namespace ipcq::device {

// Looks whose lines are read at once while there is a backlog: 16 lines. inline/ipcq of gpu_bench comes to 23.7 M/s
// with it (H200, CUDA 13.0); no comparison with other values is recorded.
inline constexpr unsigned kAhead = 4;
// The same of each warp in a burst, whose rounds are of 192 lines then. With 4 the kernel's shared memory would be 38
// KB, and two blocks would find no room on a multiprocessor of compute capability 7.5.
inline constexpr unsigned kBurstAhead = 3;

// Shared memory of block 0.
struct Scout {
  alignas(16) std::uint8_t buffer[kBlockWarps][kWarpLines][kInlineBuffer];
  // Bursts begin when nothing is late and nothing was read ahead.
  union {
    struct {
      SlotMessage late[kLate];       // messages without a task yet, in order of their tickets
      DeviceUnit ahead[kAhead][32];  // lines that were read ahead
    } scout;
    DeviceUnit burst[kBlockWarps][kBurstAhead][32];  // what each warp has read in a burst
  } lines;
  std::uint64_t shown[kExecutorCounters];  // the counters as they are in host memory
  std::uint64_t burst_first;
  std::uint32_t burst_looks;  // of each warp
  std::uint32_t burst_present[kBlockWarps];
  std::uint32_t burst_counts[kExecutorSums];
  bool quit;
};

// Of the scout's warp, in registers but around bursts; every lane has the same values. Times are of global_time_ns().
struct ScoutState {
  std::uint64_t next;                    // first ticket not looked at
  std::uint64_t limit;                   // tickets before this one may have been done by a former launch
  std::uint64_t counted[kExecutorSums];  // by ExecutorCounter, without what workers count
  std::uint64_t tasks = 0;               // tasks written so far
  std::uint64_t dispatched = 0;          // messages that became tasks
  std::uint32_t workers = 0;             // enlisted
  std::uint64_t behind = 0;              // every worker has finished or skipped the tasks before this one
  std::uint64_t arriving_since = 0;      // when line `next` was first seen incomplete; 0: it is not
  std::uint64_t busy_at = 0;             // when there was last anything to do; 0: since the last check
  std::uint32_t late = 0;                // messages in Scout::lines.scout.late
  bool blocked = false;                  // some of them are complete, but no worker is enlisted
  std::uint32_t ahead = 0;               // looks left in Scout::lines.scout.ahead
  bool backlog = false;                  // the last look took all its lines
  bool slots = false;                    // the last look saw messages in slots
  EndReason reason = EndReason::none;
};

// Enlists the worker blocks that have begun to run: they take part from the next task on.
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

// Waits until the ring has room for `want` tasks. It leaves one place more: a worker also reads `done` of the task
// before its own, and that must not be reused.
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

// The workers that take part in a task.
struct Crew {
  std::uint64_t whose;    // kEveryone, kEven, kOdd, or a worker's number
  std::uint32_t workers;  // their number
  std::uint32_t step;
};

// Writes task number `at`. Called by one lane, after await_room().
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

// Dispatches a message, whose payload is complete, to all workers. Every lane passes the same message.
__device__ inline void dispatch_to_all(const QueueView& q, WorkArea* area, ScoutState& s, const SlotMessage& m) {
  await_room(area, s, 3);
  const bool pull = (m.flags & kInMirror) != 0;
  const bool push = q.host_readable != 0;
  fence_system();  // the payload was written before the line or gpub, which lanes loaded: the workers' loads come after
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

// Dispatches to one worker each the messages of the lanes with `mine`. Their payloads are complete.
__device__ inline void dispatch_to_one(WorkArea* area, ScoutState& s, const SlotMessage& m, bool mine) {
  const std::uint32_t all = __ballot_sync(~0u, mine);
  if (all == 0) return;
  await_room(area, s, __popc(all));
  fence_system();  // as above
  __syncwarp();
  const std::uint64_t at = s.tasks + __popc(all & ((1u << threadIdx.x % 32) - 1));
  if (mine) push_task(area, at, {at % s.workers, 1, 1}, m, Stage::whole, 0, true);
  s.tasks += __popc(all);
  s.dispatched += __popc(all);
  __syncwarp();
}

// Appends the slot message of the warp's line `which` to Scout::lines.scout.late.
__device__ inline void take_slot_message(Scout& shared, ScoutState& s, const LaneLine& l, unsigned which) {
  if (threadIdx.x % 32 / kLineUnits == which) {
    SlotMessage& m = shared.lines.scout.late[s.late];
    if (l.unit < kSlotUnits) {
      for (unsigned i = 0; i < kDataWords; ++i) m.unit[l.unit][i] = l.mine.word[i];
    }
    if (l.unit == 0) {
      m.ticket = l.ticket;
      m.length = l.length;
      m.flags = l.flags;
    }
    if (l.unit == kLeaseUnit) {
      m.lease = l.mine.word[0] | static_cast<std::uint64_t>(l.mine.word[1]) << 32;
      m.slot = l.mine.word[kThirdWord];
    }
  }
  ++s.late;
  __syncwarp();
}

// Dispatches the messages of Scout::lines.scout.late whose payload is complete, writes tombstones for those whose
// payload never will be, and keeps the others.
template <class Handler>
__device__ void dispatch_ready(const QueueView& q, WorkArea* area, Scout& shared, ScoutState& s) {
  enlist(area, s);
  const bool crewed = s.workers != 0;  // false: the GPU has had no room for a worker block yet
  const unsigned lane = threadIdx.x % 32;
  std::uint32_t kept = 0;
  s.blocked = false;
  for (std::uint32_t first = 0; first < s.late; first += 32) {
    const bool any = first + lane < s.late;
    const SlotMessage& m = shared.lines.scout.late[any ? first + lane : 0];
    const bool sound = is_sound(q, m);
    const bool written = !sound || (m.flags & kPayloadReady) != 0;
    // SYNC gpub (acquire, system): the payload. Pairs with: the loaner's stream, Repair.
    const bool over = any && (written || load_acquire_system(&q.gpub[m.slot]) >= m.lease);
    const bool lost = over && (!sound || (!written && load_acquire_system(&q.tomb[m.slot]) >= m.lease));
    const bool ready = over && !lost && crewed;
    const bool small = kIsForOneBlock<Handler> || m.length < kSplitBytes;
    dispatch_to_one(area, s, m, ready && small);
    if (lost) write_message(q, m, kTombstone);
    s.counted[kDamagedCounter] += __popc(__ballot_sync(~0u, lost));
    s.blocked |= __ballot_sync(~0u, over && !lost && !crewed) != 0;
    const std::uint32_t waits = __ballot_sync(~0u, any && !lost && !ready);
    const std::uint32_t large = __ballot_sync(~0u, ready && !small);
    for (std::uint32_t left = waits | large; left != 0; left &= left - 1) {
      const unsigned i = __ffs(left) - 1;
      if ((large >> i & 1) != 0) {
        dispatch_to_all(q, area, s, shared.lines.scout.late[first + i]);
      } else {
        if (lane == 0) shared.lines.scout.late[kept] = shared.lines.scout.late[first + i];
        ++kept;
        __syncwarp();
      }
    }
  }
  s.late = kept;
}

}  // namespace ipcq::device
