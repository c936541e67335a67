// The persistent kernel's workers: blocks that take tasks, all in the same order. persistent.cuh has their scout.
#pragma once

#include "device/handle.cuh"

namespace ipcq::device {

// Thread 0 waits for `word` to become `value`. False when the kernel ends before task `at`.
__device__ inline bool await(const std::uint64_t* word, std::uint64_t value, const WorkArea* area, std::uint64_t at) {
  for (unsigned nap = 32;; nap = nap < 256 ? nap * 2 : nap) {
    if (load_acquire_device(word) == value) return true;
    const std::uint64_t quit = load_acquire_device(&area->quit);
    if (quit != 0 && at + 1 >= quit) return load_acquire_device(word) == value;
    __nanosleep(nap);
  }
}

// All workers reach every task in the same order; a large message is shared by all that are there, a small one belongs
// to one.
template <class Handler>
__device__ void work(const QueueView& q, WorkArea* area, Mailbox* box) {
  __shared__ Task task;
  __shared__ bool more;
  __shared__ std::uint32_t number;
  __shared__ std::uint64_t first;
  if (threadIdx.x == 0) {
    number = add_device(&area->present, 1);
    if (number == 0) store_relaxed_system(&box->works, 1);
    // SYNC device-enlist (acquire, device). Pairs with: enlist.
    for (unsigned nap = 32; (first = load_acquire_device(&area->start[number])) == 0; nap = nap < 256 ? nap * 2 : nap) {
      if (load_acquire_device(&area->quit) != 0) break;
      __nanosleep(nap);
    }
  }
  __syncthreads();
  if (first == 0) return;
  const unsigned worker = number;
  for (std::uint64_t at = first - 1;; ++at) {
    Task* const entry = &area->task[at % kTasks];
    if (threadIdx.x == 0) {
      // SYNC device-task (acquire, device): the task behind its number. Pairs with: push_task.
      more = await(&entry->number, at + 1, area, at);
    }
    __syncthreads();
    if (!more) return;
    if (threadIdx.x < sizeof(Task) / 4) {
      reinterpret_cast<std::uint32_t*>(&task)[threadIdx.x] =
          reinterpret_cast<const volatile std::uint32_t*>(entry)[threadIdx.x];
    }
    __syncthreads();
    const unsigned workers = task.workers;
    const bool alone = task.stage == Stage::whole;
    if (!alone || at % workers == worker) {
      if (task.wait && threadIdx.x == 0) {
        // SYNC device-stage (acquire, device): every share of the stage before. Pairs with: the add below.
        while (load_acquire_device(&area->task[(at - 1) % kTasks].done) != workers) __nanosleep(64);
      }
      __syncthreads();
      const Team team =
          alone ? Team{threadIdx.x, kBlockThreads}
                : Team{worker * std::uint64_t{kBlockThreads} + threadIdx.x, workers * std::uint64_t{kBlockThreads}};
      if (task.stage == Stage::pull || (alone && (task.message.flags & kInMirror) != 0)) {
        pull_share(q, task.message, team);
        __syncthreads();
      }
      if (task.stage == Stage::handle || alone) handle_share<Handler>(q, task.message, team);
      if (task.stage == Stage::push || (alone && q.host_readable)) {
        __syncthreads();
        push_share(q, task.message, team);
      }
      __syncthreads();
      if (threadIdx.x == 0) {
        // What goes to the CPU is waited for by whoever wrote it.
        if (task.stage == Stage::push || (alone && q.host_readable)) fence_system();
        fence_device();
        // SYNC device-stage (acquire, release, device): this share; the last one sees all. Pairs with: itself, the wait
        // above.
        const bool last = alone || add_device(&entry->done, 1) == workers - 1;
        if (last && task.last) {
          finish_message<Handler>(q, task.message);
          if (!Handler::accepts(task.message.length)) add_device(&area->failed, 1);
          add_device(&area->completed, 1);
        }
      }
    }
    // The copy in shared memory is used to the end before the ring's entry may be used again.
    if (threadIdx.x == 0) store_release_device(&area->progress[worker], at + 1);
  }
}

}  // namespace ipcq::device
