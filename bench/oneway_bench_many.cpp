// Several producers and one group of several consumers on one queue, 64 B; and on a bare ring.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>

#include "common/many.hpp"
#include "oneway_bench.hpp"

namespace ipcq::bench {

namespace {

constexpr std::size_t kBytes = 64;
constexpr std::size_t kWords = kBytes / 8;
constexpr std::size_t kMessages = 3'276'800;

QueueOptions line_queue() { return {.slots = 0, .lines = 1024, .held = 128}; }

}  // namespace

template <unsigned Producers, unsigned Consumers, std::size_t Batch>
double many_rate(Wait wait) {
  return many_rate<Producers, Consumers, kBytes, Batch>(wait, kMessages, line_queue());
}
template double many_rate<1, 1, 1>(Wait);
template double many_rate<1, 1, 128>(Wait);
template double many_rate<4, 4, 1>(Wait);
template double many_rate<4, 4, 128>(Wait);
template double many_rate<1, 16, 128>(Wait);
template double many_rate<16, 1, 128>(Wait);

// One cursor for the producers, one for the consumers, and nothing of the guarantees.
double bare_many_4x4(Wait) {
  constexpr unsigned kEach = 4;
  constexpr std::size_t kDepth = 1024;
  struct alignas(128) Cell {
    std::atomic<std::uint64_t> turn;  // tickets before, then 1 more once it is written
    std::uint64_t words[kWords];
  };
  struct Cursors {
    alignas(128) std::atomic<std::uint64_t> sent;
    alignas(128) std::atomic<std::uint64_t> received;
  };
  SharedMemory<Meeting> meeting;
  const SharedMemory<Cell> cells(kDepth);
  const SharedMemory<Cursors> cursors;
  for (Span& s : meeting->received) s = Span();
  for (std::size_t i = 0; i < kDepth; ++i) cells[i].turn = i;
  std::list<Peer> peers;
  for (unsigned p = 0; p < kEach; ++p) {
    peers.emplace_back([&, p] {
      meeting->await(2 * kEach);
      for (std::uint64_t n = 0; n < kMessages / kEach; ++n) {
        const std::uint64_t t = cursors->sent.fetch_add(1);
        Cell& cell = cells[t % kDepth];
        while (cell.turn.load(std::memory_order_acquire) != t) __builtin_ia32_pause();
        fill(cell.words, kBytes, std::uint64_t{p} << kNumberBits | n);
        cell.turn.store(t + 1, std::memory_order_release);
      }
    });
  }
  for (unsigned c = 0; c < kEach; ++c) {
    peers.emplace_back([&, c] {
      Check seen(meeting->received[c], kBytes);
      meeting->await(2 * kEach);
      for (std::uint64_t t; (t = cursors->received.fetch_add(1)) < kMessages;) {
        Cell& cell = cells[t % kDepth];
        while (cell.turn.load(std::memory_order_acquire) != t + 1) __builtin_ia32_pause();
        seen.see(cell.words);
        cell.turn.store(t + kDepth, std::memory_order_release);
      }
      seen.end();
    });
  }
  for (Peer& p : peers) p.join();
  return rate_of(*meeting, kEach, kMessages);
}

}  // namespace ipcq::bench
