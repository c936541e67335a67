// Memory that the executors' kernels share among their blocks and with their runner. Plain data for the host compiler
// and nvcc.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layout/bits.hpp"
#include "layout/limits.hpp"
#include "layout/line_format.hpp"

namespace ipcq::device {

inline constexpr unsigned kBlockThreads = 512;
inline constexpr unsigned kBlockWarps = kBlockThreads / 32;
inline constexpr unsigned kWarpLines = 32 / detail::kLineUnits;  // lines that one warp reads at once
inline constexpr unsigned kTasks = 512;                          // entries of the ring of tasks
inline constexpr unsigned kMaxWorkers = 256;                     // worker blocks; the scout's block comes on top
inline constexpr unsigned kLate = 128;                           // most messages that wait for their payload
inline constexpr std::uint32_t kSplitBytes = 64 * 1024;          // a message of this size or more has several workers

// A message in a slot: the content of its line, checked.
struct SlotMessage {
  std::uint64_t ticket;
  std::uint64_t lease;
  std::uint32_t slot;
  std::uint32_t length;
  std::uint32_t flags;                                         // LineFlag
  std::uint32_t unit[detail::kSlotUnits][detail::kDataWords];  // the line's data, for `out`
};
static_assert(sizeof(SlotMessage) == 88);
static_assert(offsetof(SlotMessage, ticket) == 0 && offsetof(SlotMessage, lease) == 8 &&
              offsetof(SlotMessage, slot) == 16 && offsetof(SlotMessage, length) == 20 &&
              offsetof(SlotMessage, flags) == 24 && offsetof(SlotMessage, unit) == 28);

// What the lane of rank 0 of a handler's team says of its message.
struct CallResult {
  std::uint32_t length;
  std::uint32_t outcome;  // HandlerMessage::outcome
};

enum class Stage : std::uint32_t {
  whole = 0,  // one worker does all of the following
  pull = 1,   // from the mirror
  handle = 2,
  push = 3,  // to the mirror
};

// Key of a task: 1 + its place in the order of tasks, and the number of the worker that does it, or one of the
// constants below. The scout stores it last; a worker that sees the key sees the task.
struct TaskKeyBits {
  using Place = detail::Bits<0, 48>;
  using Whose = detail::Bits<48, 16>;
};
static_assert(detail::fill_a_word<TaskKeyBits::Place, TaskKeyBits::Whose>());
inline constexpr std::uint64_t kEveryone = TaskKeyBits::Whose::kMax;
inline constexpr std::uint64_t kEven = kEveryone - 1;
inline constexpr std::uint64_t kOdd = kEveryone - 2;
static_assert(kMaxWorkers <= kOdd);

IPCQ_HOST_DEVICE constexpr std::uint64_t task_key(std::uint64_t place, std::uint64_t whose) {
  return TaskKeyBits::Place::put(place + 1) | TaskKeyBits::Whose::put(whose);
}

// In VRAM.
struct alignas(detail::kLineBytes) Task {
  Stage stage;
  std::uint32_t workers;  // number of workers that share it
  std::uint32_t step;     // 1: all enlisted workers share it; else every `step`th
  std::uint32_t last;     // 1: the message is finished after this task
  std::uint32_t awaited;  // workers that must have finished the task before this one; 0: none
  std::uint32_t done;     // workers that have finished their share
  SlotMessage message;
  CallResult result;  // of a handler that is not plain (call.cuh); written by the worker of the first share
  std::uint8_t pad[detail::kLineBytes - 24 - sizeof(SlotMessage) - sizeof(CallResult)];
};
static_assert(sizeof(Task) == 128);
static_assert(offsetof(Task, stage) == 0 && offsetof(Task, done) == 20 && offsetof(Task, message) == 24 &&
              offsetof(Task, result) == 112);

// In VRAM. Zero when a launch begins: each launch zeroes the next launch's area at its end.
struct WorkArea {
  alignas(detail::kLineBytes)
      std::uint64_t key[kTasks];  // stored after the task; apart from the tasks, so that a warp reads 32 keys at once
  Task task[kTasks];
  alignas(detail::kLineBytes) std::uint64_t quit;       // 1 + number of tasks after which workers end; 0: not yet
  alignas(detail::kLineBytes) std::uint64_t completed;  // messages
  std::uint64_t failed;                                 // of these, refused by the handler
  // A block that begins to run takes the next worker number. The scout enlists it by storing its first task. So no task
  // waits for a block that the GPU has no room for yet.
  alignas(detail::kLineBytes) std::uint32_t present;
  alignas(detail::kLineBytes) std::uint64_t start[kMaxWorkers];     // 1 + first task; 0: not enlisted
  alignas(detail::kLineBytes) std::uint64_t progress[kMaxWorkers];  // tasks that the worker has finished or skipped
};
static_assert(offsetof(WorkArea, key) == 0 && offsetof(WorkArea, task) == 4096 && offsetof(WorkArea, quit) == 69632 &&
              offsetof(WorkArea, completed) == 69760 && offsetof(WorkArea, failed) == 69768 &&
              offsetof(WorkArea, present) == 69888 && offsetof(WorkArea, start) == 70016 &&
              offsetof(WorkArea, progress) == 72064 && sizeof(WorkArea) == 74112);

// Why the persistent kernel ended.
enum class EndReason : std::uint32_t {
  none = 0,
  stop = 1,           // the runner set Mailbox::stop
  idle = 2,           // no work for park_after
  late = 3,           // every message that is left waits for its payload
  to_persistent = 4,  // a control line
  to_stream = 5,      // likewise
};

// In VRAM: sums over the kernels of the stream executor, which run one after the other.
struct StreamTotals {
  std::uint64_t counted[detail::kExecutorSums];  // by ExecutorCounter
  std::uint32_t done;                            // blocks of the running kernel that have finished
  CallResult result;                             // of the running message, as in Task
  std::uint32_t reserved;
};
static_assert(sizeof(StreamTotals) == 40 && offsetof(StreamTotals, done) == 24 && offsetof(StreamTotals, result) == 28);

// In VRAM, one for each device queue.
struct ExecutorMemory {
  WorkArea area[2];  // used alternately by launches of the persistent kernel
  StreamTotals totals;
  std::uint8_t pad[detail::kLineBytes - sizeof(StreamTotals)];
};
static_assert(offsetof(ExecutorMemory, totals) == 2 * sizeof(WorkArea));

// In pinned memory, between the runner and one launch of the persistent kernel at a time.
struct Mailbox {
  std::uint32_t stop;    // written by the runner: 1 asks the kernel to end
  std::uint32_t scouts;  // written by the kernel: 1 once its scout runs
  std::uint32_t works;   // written by the kernel: 1 once a worker runs
  EndReason reason;      // written by the kernel at its end, with the resume point:
  std::uint64_t resume;  // first ticket that is not done
  std::uint64_t limit;   // first ticket not looked at; a ticket in [resume, limit) is done if its `out` line is tagged
};
static_assert(sizeof(Mailbox) == 32);
static_assert(offsetof(Mailbox, stop) == 0 && offsetof(Mailbox, scouts) == 4 && offsetof(Mailbox, works) == 8 &&
              offsetof(Mailbox, reason) == 12 && offsetof(Mailbox, resume) == 16 && offsetof(Mailbox, limit) == 24);

}  // namespace ipcq::device
