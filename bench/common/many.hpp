// Several producers and one group of several consumers on one queue, each a process of its own: what they send, check
// and count.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <vector>

#include "common/oneway.hpp"

namespace ipcq::bench {

inline constexpr unsigned kNumberBits = 40;  // of a message: its producer, and its number there
inline constexpr unsigned kMost = 16;        // producers, or consumers

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
  Check(Span& span, std::size_t bytes) : span_(span), bytes_(bytes) {}
  void see(const std::uint64_t* words) {
    check(words, bytes_, words[0]);
    const std::uint64_t number = words[0] & ((std::uint64_t{1} << kNumberBits) - 1);
    std::uint64_t& next = next_.at(words[0] >> kNumberBits);
    if (number < next) fail("message " + std::to_string(number) + " came twice, or too late");
    next = number + 1;
    if (span_.messages++ == 0) span_.first_ns = now_ns();
  }
  void end() { span_.last_ns = now_ns(); }

 private:
  Span& span_;
  const std::size_t bytes_;
  std::array<std::uint64_t, kMost> next_{};
};

inline double rate_of(const Meeting& meeting, unsigned consumers, std::size_t sent) {
  Span all;
  for (const Span& s : std::span(meeting.received).first(consumers)) {
    all.first_ns = std::min(all.first_ns, s.first_ns);
    all.last_ns = std::max(all.last_ns, s.last_ns);
    all.messages += s.messages;
  }
  if (all.messages != sent) fail(std::to_string(all.messages) + " of " + std::to_string(sent) + " messages came");
  return static_cast<double>(all.messages) * 1e9 / static_cast<double>(all.last_ns - all.first_ns);
}

template <std::size_t Bytes, std::size_t Batch>
void receive_all(Consumer& in, Check& seen) {
  std::vector<Message> batch(Batch);
  for (;;) {
    const BatchResult got = in.receive_many(batch);
    if (got.status == Status::end) return seen.end();
    if (got.status != Status::ok) fail("not received");
    for (Message& m : std::span(batch).first(got.count)) {
      if (m.length() != Bytes) fail("a message has a wrong length");
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
template <std::size_t Bytes, std::size_t Batch>
struct Receiving {
  Side side;
  unsigned number;

  void operator()() const {
    auto session = attach();
    auto in = attach_consumer(session, side.wait);
    Check seen(side.meeting.received[number], Bytes);
    side.meeting.await(side.processes);
    receive_all<Bytes, Batch>(in, seen);
  }
};
template <std::size_t Bytes, std::size_t Batch>
struct Sending {
  Side side;
  unsigned number;
  std::size_t count;

  void operator()() const {
    auto session = attach();
    auto out = attach_producer(session, side.wait);
    side.meeting.await(side.processes);
    const std::uint64_t first = std::uint64_t{number} << kNumberBits;
    Batch == 1 ? send_single<Bytes>(out, count, first) : send_batches<Bytes, Batch>(out, count, first);
  }
};

// The rate of `count` messages of all producers together, each of which sends whole batches. The broker's process, this
// one, only waits.
template <unsigned Producers, unsigned Consumers, std::size_t Bytes, std::size_t Batch>
double many_rate(Wait wait, std::size_t count, const QueueOptions& options) {
  const SharedMemory<Meeting> meeting;
  for (Span& s : meeting->received) s = Span();
  std::list<Peer> peers;
  const Side side{*meeting, Producers + Consumers, wait};
  for (unsigned c = 0; c < Consumers; ++c) peers.emplace_back(Receiving<Bytes, Batch>{side, c});
  for (unsigned p = 0; p < Producers; ++p) peers.emplace_back(Sending<Bytes, Batch>{side, p, count / Producers});
  const Broker broker = start_broker(options);
  for (Peer& p : peers) p.join();
  return rate_of(*meeting, Consumers, count);
}

}  // namespace ipcq::bench
