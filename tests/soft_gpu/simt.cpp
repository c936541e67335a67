#include "simt.hpp"

#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace soft_gpu {

thread_local const Place* place = nullptr;

namespace {

namespace context = boost::context;

constexpr unsigned kWarp = 32;
constexpr unsigned kBarriers = 16;
constexpr unsigned kRoom = 32;  // blocks at a time
constexpr std::size_t kStack = 32 * 1024;
constexpr auto kBlockNap = std::chrono::microseconds(20);

struct Meeting {
  unsigned arrived = 0;
  std::uint64_t rounds = 0;
};

struct Warp {
  Meeting meeting;
  std::uint64_t values[2][kWarp] = {};  // by turns: all have read the former ones when the next are complete
};

struct Fiber {
  context::fiber self, scheduler;
  Place place;
  Warp* warp = nullptr;
  const Meeting* awaits = nullptr;
  std::uint64_t round = 0;  // of `awaits` that is over when it has changed
  bool naps = false;
  bool ended = false;
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Meeting barriers[kBarriers];
};

thread_local Block* block = nullptr;
thread_local Fiber* current = nullptr;

void switch_out() { current->scheduler = std::move(current->scheduler).resume(); }

// The lanes that come wait for the last one.
void meet(Meeting& m, unsigned count) {
  const std::uint64_t round = m.rounds;
  if (++m.arrived == count) {
    m.arrived = 0;
    ++m.rounds;
    return;
  }
  current->awaits = &m;
  current->round = round;
  switch_out();
}

class Room {
 public:
  Room() {
    std::unique_lock lock(mutex());
    changed().wait(lock, [] { return taken() < kRoom; });
    ++taken();
  }
  ~Room() {
    const std::scoped_lock lock(mutex());
    --taken();
    changed().notify_all();
  }

 private:
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }
  static std::condition_variable& changed() {
    static std::condition_variable c;
    return c;
  }
  static unsigned& taken() {
    static unsigned n = 0;
    return n;
  }
};

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "soft GPU: block %u: %s\n", place != nullptr ? place->block.x : 0, what);
  std::abort();
}

void run_block(unsigned number, unsigned blocks, unsigned threads, const std::function<void()>& kernel) {
  const Room room;
  Block b;
  block = &b;
  b.warps = std::vector<Warp>((threads + kWarp - 1) / kWarp);
  b.fibers = std::vector<Fiber>(threads);
  for (unsigned t = 0; t < threads; ++t) {
    Fiber& f = b.fibers[t];
    f.place = {{t, 0, 0}, {number, 0, 0}, {threads, 1, 1}, {blocks, 1, 1}};
    f.warp = &b.warps[t / kWarp];
    f.self = context::fiber(std::allocator_arg, context::fixedsize_stack(kStack), [&f, &kernel](context::fiber&& s) {
      f.scheduler = std::move(s);
      kernel();
      f.ended = true;
      return std::move(f.scheduler);
    });
  }
  std::minstd_rand random(std::random_device{}());
  for (unsigned left = threads; left != 0;) {
    bool ran = false, all_nap = true;
    const unsigned first = random() % threads;
    for (unsigned n = 0; n < threads; ++n) {
      Fiber& f = b.fibers[(first + n) % threads];
      if (f.ended || (f.awaits != nullptr && f.awaits->rounds == f.round)) continue;
      f.awaits = nullptr;
      f.naps = false;
      current = &f;
      place = &f.place;
      f.self = std::move(f.self).resume();
      ran = true;
      all_nap = all_nap && f.naps;
      if (f.ended) --left, all_nap = false;
    }
    if (!ran) give_up("its threads wait for each other at different places");
    if (all_nap) std::this_thread::sleep_for(kBlockNap);
  }
  block = nullptr;
}

}  // namespace

void run_grid(unsigned blocks, unsigned threads, const std::function<void()>& kernel) {
  std::vector<std::thread> running;
  for (unsigned n = 0; n < blocks; ++n) running.emplace_back([=, &kernel] { run_block(n, blocks, threads, kernel); });
  for (auto& t : running) t.join();
}

void yield() { switch_out(); }

void nap() {
  current->naps = true;
  switch_out();
}

const std::uint64_t* exchange(std::uint64_t mine) {
  Warp& w = *current->warp;
  std::uint64_t* const values = w.values[w.meeting.rounds % 2];
  values[current->place.thread.x % kWarp] = mine;
  meet(w.meeting, kWarp);
  return values;
}

void barrier(unsigned id, unsigned threads) {
  if (id >= kBarriers) give_up("no such barrier");
  meet(block->barriers[id], threads);
}

}  // namespace soft_gpu
