#include "orphaned_waits.hpp"

#include <chrono>
#include <iterator>
#include <utility>

namespace ipcq::detail {
namespace {

constexpr auto kEvery = std::chrono::milliseconds(10);

}  // namespace

OrphanedWaits& OrphanedWaits::get() {
  static auto* const g = new OrphanedWaits;
  return *g;
}

void OrphanedWaits::keep(std::function<bool()> is_over) {
  if (epoch_ != fork_epoch()) return;
  const std::scoped_lock lock(mutex_);
  added_.push_back(std::move(is_over));
  changed_.notify_one();
  (void)start_thread(thread_, [this] { run(); });  // if the system refuses one, the next call tries again
}

void OrphanedWaits::run() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (guarded_.empty()) changed_.wait(lock, [this] { return !added_.empty(); });
    std::move(added_.begin(), added_.end(), std::back_inserter(guarded_));
    added_.clear();
    lock.unlock();
    check_all();
    if (!guarded_.empty()) std::this_thread::sleep_for(kEvery);
    lock.lock();
  }
}

void OrphanedWaits::check_all() noexcept {
  std::erase_if(guarded_, [](const std::function<bool()>& is_over) { return is_over(); });
}

}  // namespace ipcq::detail
