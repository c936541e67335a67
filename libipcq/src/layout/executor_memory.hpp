// What the persistent kernel's blocks and its runner share. Plain data for host compiler and nvcc alike.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layout/bits.hpp"
#include "layout/limits.hpp"
#include "layout/line_format.hpp"

namespace ipcq::device {

inline constexpr unsigned kBlockThreads = 512;
inline constexpr unsigned kWarpLines = 32 / detail::kLineUnits;  // lines that one warp reads at once
inline constexpr unsigned kTasks = 512;                          // ring of tasks
inline constexpr unsigned kMaxWorkers = 256;                     // blocks beside the scout's
inline constexpr unsigned kLate = 128;                           // messages that wait for their payload, at most
inline constexpr std::uint32_t kSplitBytes = 64 * 1024;          // a message from this size on is shared by all workers

// A message in a slot, checked, as its line said.
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

enum class Stage : std::uint32_t {
  whole = 0,  // one worker does all of the following
  pull = 1,   // from the mirror
  handle = 2,
  push = 3,  // to the mirror
};

// Tells workers that a task is there, and whose it is: 1 + its place in the order of tasks, and a worker's number or
// one of the constants below.
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
  std::uint32_t workers;  // that share it: every one of those that were there, or every `step`th
  std::uint32_t step;
  std::uint32_t last;     // the message is finished after this task
  std::uint32_t awaited;  // workers that must have done the task before this one; 0: it need not be
  std::uint32_t done;     // workers that have finished their share
  SlotMessage message;
  std::uint8_t pad[detail::kLineBytes - 24 - sizeof(SlotMessage)];
};
static_assert(sizeof(Task) == 128);
static_assert(offsetof(Task, stage) == 0 && offsetof(Task, done) == 20 && offsetof(Task, message) == 24);

// In VRAM, zeroed. A launch zeroes the one of the next launch at its end.
struct WorkArea {
  alignas(detail::kLineBytes) std::uint64_t
      key[kTasks];  // last word of a task to be written; apart from the tasks, so that a warp reads 32 of them at once
  Task task[kTasks];
  alignas(detail::kLineBytes) std::uint64_t quit;       // 1 + number of tasks after which workers end; 0: not yet
  alignas(detail::kLineBytes) std::uint64_t completed;  // messages
  std::uint64_t failed;                                 // of these, refused by the handler
  // A block that runs takes the next worker's number; the scout enlists it by saying with which task it begins. So a
  // block for which the GPU has no room yet is waited for by nobody.
  alignas(detail::kLineBytes) std::uint32_t present;
  alignas(detail::kLineBytes) std::uint64_t start[kMaxWorkers];     // 1 + first task; 0: not enlisted
  alignas(detail::kLineBytes) std::uint64_t progress[kMaxWorkers];  // tasks that a worker has behind it
};
static_assert(offsetof(WorkArea, key) == 0 && offsetof(WorkArea, task) == 4096 && offsetof(WorkArea, quit) == 69632 &&
              offsetof(WorkArea, completed) == 69760 && offsetof(WorkArea, failed) == 69768 &&
              offsetof(WorkArea, present) == 69888 && offsetof(WorkArea, start) == 70016 &&
              offsetof(WorkArea, progress) == 72064 && sizeof(WorkArea) == 74112);

// Why the persistent kernel ended.
enum class EndReason : std::uint32_t {
  none = 0,
  stop = 1,
  idle = 2,
  late = 3,  // only messages are left whose payload has not come
  to_persistent = 4,
  to_stream = 5,
};

// In VRAM: what the kernels of one stream, which run one after the other, add up.
struct StreamTotals {
  std::uint64_t counted[detail::kExecutorSums];  // by ExecutorCounter
  std::uint32_t done;                            // blocks of the running kernel that have finished
  std::uint32_t reserved;
};
static_assert(sizeof(StreamTotals) == 32 && offsetof(StreamTotals, done) == 24);

// One queue's.
struct ExecutorMemory {
  WorkArea area[2];  // launches take turns
  StreamTotals totals;
  std::uint8_t pad[detail::kLineBytes - sizeof(StreamTotals)];
};
static_assert(offsetof(ExecutorMemory, totals) == 2 * sizeof(WorkArea));

// In pinned memory: between one launch and its runner.
struct Mailbox {
  std::uint32_t stop;    // written by the runner: end soon
  std::uint32_t scouts;  // written by the kernel: 1 when its scout runs
  std::uint32_t works;   // likewise, a worker
  EndReason reason;      // written by the kernel at its end, with the resume point
  std::uint64_t resume;  // first ticket that is not done
  std::uint64_t limit;   // first ticket that was not looked at; between the two, one is done if its `out` is tagged
};
static_assert(sizeof(Mailbox) == 32);
static_assert(offsetof(Mailbox, stop) == 0 && offsetof(Mailbox, scouts) == 4 && offsetof(Mailbox, works) == 8 &&
              offsetof(Mailbox, reason) == 12 && offsetof(Mailbox, resume) == 16 && offsetof(Mailbox, limit) == 24);

}  // namespace ipcq::device
