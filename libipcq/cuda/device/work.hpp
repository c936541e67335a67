// What the persistent kernel's blocks and its runner share. Plain data for host compiler and nvcc alike.
#pragma once

#include <cstdint>

namespace ipcq::device {

inline constexpr unsigned kBlockThreads = 512;
inline constexpr unsigned kWarpLines = 4;                // lines that one warp reads at once: 32 lanes x 16 bytes
inline constexpr unsigned kTasks = 512;                  // ring of tasks
inline constexpr unsigned kMaxWorkers = 256;             // blocks beside the scout's
inline constexpr unsigned kMessageUnits = 5;             // units of a line that names a slot
inline constexpr unsigned kLate = 128;                   // messages that wait for their payload, at most
inline constexpr std::uint32_t kSplitBytes = 64 * 1024;  // a message from this size on is shared by all workers

// A message in a slot, checked, as its line said.
struct SlotMessage {
  std::uint64_t ticket;
  std::uint64_t lease;
  std::uint32_t slot;
  std::uint32_t length;
  std::uint32_t flags;                   // LineFlag
  std::uint32_t unit[kMessageUnits][3];  // the line's data, for `out`
};

enum class Stage : std::uint32_t { whole, pull, handle, push };

// In VRAM.
struct alignas(128) Task {
  Stage stage;
  std::uint32_t workers;  // that share it: every one of those that were there, or every `step`th
  std::uint32_t step;
  std::uint32_t last;     // the message is finished after this task
  std::uint32_t awaited;  // workers that must have done the task before this one; 0: it need not be
  std::uint32_t done;     // workers that have finished their share
  SlotMessage message;
};

// In VRAM, zeroed. A launch zeroes the one of the next launch at its end.
struct WorkArea {
  alignas(128) std::uint64_t
      key[kTasks];  // last word of a task to be written; apart from the tasks, so that a warp reads 32 of them at once
  Task task[kTasks];
  alignas(128) std::uint64_t quit;       // 1 + number of tasks after which workers end; 0: not yet
  alignas(128) std::uint64_t completed;  // messages
  std::uint64_t failed;                  // of these, refused by the handler
  // A block that runs takes the next worker's number; the scout enlists it by saying with which task it begins. So a
  // block for which the GPU has no room yet is waited for by nobody.
  alignas(128) std::uint32_t present;
  alignas(128) std::uint64_t start[kMaxWorkers];     // 1 + first task; 0: not enlisted
  alignas(128) std::uint64_t progress[kMaxWorkers];  // tasks that a worker has behind it
};

// late: only messages are left whose payload has not come.
enum class EndReason : std::uint32_t { none, stop, idle, late, to_persistent, to_stream };

// In VRAM: what the kernels of one stream, which run one after the other, add up.
struct StreamTotals {
  std::uint64_t counted[3];  // processed, failed, damaged
  std::uint32_t done;        // blocks of the running kernel that have finished
};

// One queue's.
struct ExecutorMemory {
  WorkArea area[2];  // launches take turns
  StreamTotals totals;
};

// In pinned memory: between one launch and its runner.
struct Mailbox {
  std::uint32_t stop;    // written by the runner: end soon
  std::uint32_t scouts;  // written by the kernel: 1 when its scout runs
  std::uint32_t works;   // likewise, a worker
  EndReason reason;      // written by the kernel at its end, with the resume point
  std::uint64_t resume;  // first ticket that is not done
  std::uint64_t limit;   // first ticket that was not looked at; between the two, one is done if its `out` is tagged
};

}  // namespace ipcq::device
