#include "base/fork.hpp"

#include <pthread.h>

#include <utility>

namespace ipcq::detail {

std::atomic<std::uint32_t> fork_count{0};

namespace {

// Registered once, while statics are initialised.
const int registered_atfork =
    pthread_atfork(nullptr, nullptr, [] { fork_count.fetch_add(1, std::memory_order_relaxed); });

// A list that stays reachable, so that leak checkers report none of it. Lock-free, since a fork could leave a lock
// locked.
struct Kept {
  std::shared_ptr<void> object;
  Kept* next;
};
std::atomic<Kept*> kept{nullptr};

}  // namespace

void keep_for_ever(std::shared_ptr<void> object) noexcept {
  auto* const k = std::make_unique<Kept>(Kept{std::move(object), kept.load(std::memory_order_relaxed)}).release();
  while (!kept.compare_exchange_weak(k->next, k, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

}  // namespace ipcq::detail
