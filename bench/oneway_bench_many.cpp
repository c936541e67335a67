// Several producers and one group of several consumers on one queue, each a process of its own, 64 B.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <vector>

#include "oneway_bench.hpp"

namespace ipcq::bench {

namespace {

constexpr std::size_t kBytes = 64;
constexpr std::size_t kWords = kBytes / 8;
constexpr unsigned kNumberBits = 40;  // of a message: its producer, and its number there
constexpr unsigned kMost = 16;        // producers, or consumers

struct alignas(128) Span {
  std::uint64_t first_ns = ~std::uint64_t{0};
  std::uint64_t last_ns = 0;
  std::uint64_t messages = 0;
};
struct Meeting {
  alignas(128) std::atomic<unsigned> arrived;
  Span received[kMost];

  void await(unsigned all) {
    arrived.fetch_add(1);
    while (arrived.load(std::memory_order_acquire) < all) __builtin_ia32_pause();
  }
};

// What one consumer has seen: the messages of each producer come in order.
class Check {
 public:
  explicit Check(Span& span) : span_(span) {}
  void see(const std::uint64_t* words) {
    check(words, kBytes, words[0]);
    const std::uint64_t number = words[0] & ((std::uint64_t{1} << kNumberBits) - 1);
    std::uint64_t& next = next_.at(words[0] >> kNumberBits);
    if (number < next) fail("message " + std::to_string(number) + " came twice, or too late");
    next = number + 1;
    if (span_.messages++ == 0) span_.first_ns = now_ns();
  }
  void end() { span_.last_ns = now_ns(); }

 private:
  Span& span_;
  std::array<std::uint64_t, kMost> next_{};
};

double rate_of(const Meeting& meeting, unsigned consumers, std::size_t sent) {
  Span all;
  for (const Span& s : std::span(meeting.received).first(consumers)) {
    all.first_ns = std::min(all.first_ns, s.first_ns);
    all.last_ns = std::max(all.last_ns, s.last_ns);
    all.messages += s.messages;
  }
  if (all.messages != sent) fail(std::to_string(all.messages) + " of " + std::to_string(sent) + " messages came");
  return static_cast<double>(all.messages) * 1e9 / static_cast<double>(all.last_ns - all.first_ns);
}

constexpr std::size_t kMessages = 3'276'800;  // of all producers; each sends whole batches

// Not within the template, where GCC 12 fails at it.
QueueOptions line_queue() { return {.slots = 0, .lines = 1024, .held = 128}; }

template <std::size_t Batch>
void receive_all(Consumer& in, Check& seen) {
  std::vector<Message> batch(Batch);
  for (;;) {
    const BatchResult got = in.receive_many(batch);
    if (got.status == Status::end) return seen.end();
    if (got.status != Status::ok) fail("not received");
    for (Message& m : std::span(batch).first(got.count)) {
      if (m.length() != kBytes) fail("a message has a wrong length");
      seen.see(reinterpret_cast<const std::uint64_t*>(m.bytes().data()));
      if (m.release() != Status::ok) fail("not released");
    }
  }
}

// What a process does.
struct Side {
  Meeting& meeting;
  unsigned processes;
  Wait wait;
};
template <std::size_t Batch>
struct Receiving {
  Side side;
  unsigned number;

  void operator()() const {
    auto session = attach();
    auto in = attach_consumer(session, side.wait);
    Check seen(side.meeting.received[number]);
    side.meeting.await(side.processes);
    receive_all<Batch>(in, seen);
  }
};
template <std::size_t Batch>
struct Sending {
  Side side;
  unsigned number;
  std::size_t count;

  void operator()() const {
    auto session = attach();
    auto out = attach_producer(session, side.wait);
    side.meeting.await(side.processes);
    const std::uint64_t first = std::uint64_t{number} << kNumberBits;
    Batch == 1 ? send_single<kBytes>(out, count, first) : send_batches<kBytes, Batch>(out, count, first);
  }
};

}  // namespace

template <unsigned Producers, unsigned Consumers, std::size_t Batch>
double many_rate(Wait wait) {
  const SharedMemory<Meeting> meeting;
  for (Span& s : meeting->received) s = Span();
  std::list<Peer> peers;
  const Side side{*meeting, Producers + Consumers, wait};
  for (unsigned c = 0; c < Consumers; ++c) peers.emplace_back(Receiving<Batch>{side, c});
  for (unsigned p = 0; p < Producers; ++p) peers.emplace_back(Sending<Batch>{side, p, kMessages / Producers});
  const Broker broker = start_broker(line_queue());
  for (Peer& p : peers) p.join();
  return rate_of(*meeting, Consumers, kMessages);
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
      Check seen(meeting->received[c]);
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
