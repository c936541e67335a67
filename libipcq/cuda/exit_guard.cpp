#include "exit_guard.hpp"

#include <atomic>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/os.hpp"
#include "deferred_unpin.hpp"

namespace ipcq::detail {
namespace {

std::atomic<bool> exiting{false};

// Never destroyed: global endpoints are destroyed later than a static of this file would be.
struct Open {
  struct Side {
    std::weak_ptr<DeviceSide> side;
    std::thread::id thread;
  };
  std::mutex mutex;
  std::vector<Side> sides;
  const std::uint32_t epoch = fork_epoch();
};

Open& open_sides() {
  static auto* const o = new Open;
  return *o;
}

void close_all() noexcept {
  exiting = true;
  Open& open = open_sides();
  if (open.epoch != fork_epoch()) return;
  std::vector<Open::Side> sides;
  {
    const std::scoped_lock lock(open.mutex);
    sides = std::move(open.sides);
  }
  for (const auto& s : sides) {
    const auto side = s.side.lock();
    if (side && s.thread == std::this_thread::get_id()) side->close();
  }
}

}  // namespace

void close_at_exit(std::weak_ptr<DeviceSide> side) {
  (void)deferred_unpin();  // constructed first, so that it ends after close_all()
  static const struct AtExit {
    ~AtExit() { close_all(); }
  } at_exit;
  Open& open = open_sides();
  const std::scoped_lock lock(open.mutex);
  std::erase_if(open.sides, [](const Open::Side& s) { return s.side.expired(); });
  open.sides.push_back({std::move(side), std::this_thread::get_id()});
}

bool is_exiting() noexcept { return exiting; }

}  // namespace ipcq::detail
