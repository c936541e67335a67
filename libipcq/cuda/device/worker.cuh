// The persistent kernel's workers: all blocks but block 0, whose scout (dispatch.cuh) gives them tasks.
//
// Invariant: every worker goes through the tasks in the same order, so that a task may wait for the one before it. A
// worker's `progress` says that it has finished or skipped all tasks before that number; the scout reuses a task's
// place only when all workers have.
#pragma once

#include "device/handle.cuh"

namespace ipcq::device {

__device__ inline bool concerns(std::uint64_t whose, unsigned worker) {
  return whose == worker || whose == kEveryone || whose == (worker % 2 == 0 ? kEven : kOdd);
}

// Waits for the next task that concerns `worker`, and sets `at` to its number. All tasks before `at` are finished or
// skipped. Called by all lanes of a warp, which read 32 keys at once. False when the kernel ends first.
__device__ inline bool find_task(WorkArea* area, unsigned worker, std::uint64_t& at) {
  const unsigned lane = threadIdx.x % 32;
  for (unsigned nap = 32;;) {
    if (lane == 0) store_release_device(&area->progress[worker], at);
    const std::uint64_t quit = __shfl_sync(~0u, load_acquire_device(&area->quit), 0);
    // SYNC device-task (acquire, device): the task behind its key. Pairs with: push_task.
    const std::uint64_t key = load_acquire_device(&area->key[(at + lane) % kTasks]);
    const std::uint64_t whose = TaskKeyBits::Whose::get(key);
    const bool there = key == task_key(at + lane, whose);
    const std::uint32_t missing = __ballot_sync(~0u, !there);
    const unsigned in_row = missing == 0 ? 32 : __ffs(missing) - 1;
    const std::uint32_t mine = __ballot_sync(~0u, lane < in_row && concerns(whose, worker));
    if (mine != 0) {
      at += __ffs(mine) - 1;
      return true;
    }
    if (in_row != 0) {
      at += in_row;
      nap = 32;
      continue;
    }
    if (quit != 0 && at + 1 >= quit) return false;
    __nanosleep(nap);
    if (nap < 256) nap *= 2;
  }
}

// By one thread of a block that has done its share of a task; the last of the blocks that share it ends the message,
// if this was its last stage.
template <class Handler>
__device__ __forceinline__ void end_share(const QueueView& q, WorkArea* area, Task* entry, const Task& task,
                                          bool alone) {
  bool last = alone;
  if (!alone) {
    // Pushed bytes are for CPUs: the block that wrote them fences for the system.
    if (task.stage == Stage::push) fence_system();
    fence_device();
    // SYNC device-stage (acquire, release, device): this share; the last one sees all. Pairs with: itself, the wait
    // in work().
    last = add_device(&entry->done, 1) == task.workers - 1;
  }
  if (last && task.last) {
    CallResult result{};
    if constexpr (!kIsPlain<Handler>) {
      result = alone || task.stage == Stage::push ? task.result : load_result(&entry->result);
    }
    if (finish_message<Handler>(q, task.message, result)) add_device(&area->failed, 1);
    // SYNC device-serial (release, device): the queue's state. Pairs with: is_next_due.
    add_device(&area->completed, 1);
  }
}

// After a block's share of a handler that is not plain: keeps what the lane of rank 0 has said for who goes on with the
// message. Called by all threads of the block.
__device__ inline void keep_result(Task* entry, Task& task, const CallResult& result, bool first) {
  __syncthreads();  // no thread reads the length any more
  if (!first) return;
  task.result = result;
  if (task.stage == Stage::whole) task.message.length = result.length;
  auto* const there = reinterpret_cast<volatile std::uint32_t*>(&entry->result);
  there[0] = result.length;
  there[1] = result.outcome;
}

// A worker block's whole run. A message of kSplitBytes or more is shared by the enlisted workers, a smaller one belongs
// to one of them. A large message that is both pulled and pushed is pulled by the even workers, and handled and pushed
// by the odd ones: the even ones pull the next message meanwhile, so both directions of PCIe are in use.
template <class Handler>
__device__ void work(const QueueView& q, WorkArea* area, Mailbox* box) {
  __shared__ Task task;
  __shared__ bool more;
  __shared__ std::uint32_t number;
  __shared__ std::uint64_t place;
  if (threadIdx.x == 0) {
    number = add_device(&area->present, 1);
    if (number == 0) store_relaxed_system(&box->works, 1);
    // SYNC device-enlist (acquire, device). Pairs with: enlist.
    for (unsigned nap = 32; (place = load_acquire_device(&area->start[number])) == 0; nap = nap < 256 ? nap * 2 : nap) {
      if (load_acquire_device(&area->quit) != 0) break;
      __nanosleep(nap);
    }
  }
  __syncthreads();
  if (place == 0) return;
  const unsigned worker = number;
  for (std::uint64_t at = place - 1;; ++at) {
    __syncthreads();  // no thread reads the former `task` and `place` any more
    if (threadIdx.x < 32) {
      const bool found = find_task(area, worker, at);
      if (threadIdx.x == 0) place = at, more = found;
    }
    __syncthreads();
    if (!more) return;
    at = place;
    Task* const entry = &area->task[at % kTasks];
    if (threadIdx.x < sizeof(Task) / 4) {
      reinterpret_cast<std::uint32_t*>(&task)[threadIdx.x] =
          reinterpret_cast<const volatile std::uint32_t*>(entry)[threadIdx.x];
    }
    __syncthreads();
    const bool alone = task.stage == Stage::whole;
    if (task.awaited != 0 && threadIdx.x == 0) {
      // SYNC device-stage (acquire, device): every share of the stage before. Pairs with: the add in end_share().
      while (load_acquire_device(&area->task[(at - 1) % kTasks].done) != task.awaited) __nanosleep(64);
      if constexpr (!kIsPlain<Handler>) {
        if (task.stage == Stage::push) {
          task.result = load_result(&area->task[(at - 1) % kTasks].result);
          task.message.length = task.result.length;
        }
      }
    }
    __syncthreads();
    const Team team = alone ? Team{threadIdx.x, kBlockThreads}
                            : Team{worker / task.step * std::uint64_t{kBlockThreads} + threadIdx.x,
                                   task.workers * std::uint64_t{kBlockThreads}};
    if (task.stage == Stage::pull || (alone && (task.message.flags & kInMirror) != 0)) {
      pull_share(q, task.message, team);
      __syncthreads();
    }
    if (task.stage == Stage::handle || alone) {
      const CallResult result = handle_share<Handler>(q, task.message, team);
      if constexpr (!kIsPlain<Handler>) keep_result(entry, task, result, team.rank() == 0);
    }
    if (task.stage == Stage::push || (alone && q.host_readable)) {
      __syncthreads();
      push_share(q, task.message, team);
    }
    __syncthreads();
    if (threadIdx.x != 0) continue;
    end_share<Handler>(q, area, entry, task, alone);
  }
}

}  // namespace ipcq::device
