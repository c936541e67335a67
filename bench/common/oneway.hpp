// What one-way benchmarks share: payloads of equal words that carry their number, who sends and receives them, and the
// clock.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/clock.hpp"
#include "common/peer.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq::bench {

inline void fill(std::uint64_t* words, std::size_t bytes, std::uint64_t number) {
  std::fill_n(words, bytes / 8, number);
}

inline void check(const std::uint64_t* words, std::size_t bytes, std::uint64_t number) {
  std::uint64_t wrong = 0;
  for (std::size_t i = 0; i < bytes / 8; ++i) wrong |= words[i] ^ number;
  if (wrong != 0) fail("message " + std::to_string(number) + " has wrong bytes");
}
inline void check(std::span<const std::byte> bytes, std::size_t expected, std::uint64_t number) {
  if (bytes.size() != expected) fail("message " + std::to_string(number) + " has a wrong length");
  check(reinterpret_cast<const std::uint64_t*>(bytes.data()), expected, number);
}

// Starts at the first receipt.
class Stopwatch {
 public:
  void received(std::uint64_t number) {
    if (number == 0) start_ = Clock::now();
  }
  double rate(std::size_t messages) const { return static_cast<double>(messages) / seconds_since(start_); }

 private:
  Clock::time_point start_;
};

// A broker of this benchmark with the queue "stream". After the forks of its peers.
inline Broker start_broker(const QueueOptions& options) {
  Broker broker({.name = broker_name()});
  broker.create("stream", options);
  return broker;
}
inline constexpr auto kPatience = std::chrono::seconds(60);  // for broker, runner and queue to come up
inline Session attach() { return connect({.broker = broker_name(), .wait_for = kPatience}); }
inline Producer attach_producer(Session& session, Wait wait) {
  return session.producer("stream", {.wait = wait, .wait_for = kPatience});
}
inline Consumer attach_consumer(Session& session, Wait wait) {
  return session.consumer("stream", {.wait = wait, .wait_for = kPatience});
}

// `send` in another process, `receive` here, until the end of the stream.
template <class Send, class Receive>
double queue_rate(Wait wait, std::size_t count, const QueueOptions& options, Send send, Receive receive) {
  const Peer peer([&] {
    auto session = attach();
    auto out = attach_producer(session, wait);
    send(out, count, 0);
  });
  const Broker broker = start_broker(options);
  auto session = attach();
  auto in = attach_consumer(session, wait);
  return receive(in, count);
}

// Send messages of Bytes with the numbers from `first` on, one a call or Batch a call, of which `count` is a multiple.
template <std::size_t Bytes>
void send_single(Producer& out, std::size_t count, std::uint64_t first) {
  alignas(8) std::byte message[Bytes];
  for (std::uint64_t n = 0; n < count; ++n) {
    fill(reinterpret_cast<std::uint64_t*>(message), Bytes, first + n);
    if (out.send(message) != Status::ok) fail("not sent");
  }
}
template <std::size_t Bytes, std::size_t Batch>
void send_batches(Producer& out, std::size_t count, std::uint64_t first) {
  std::vector<std::uint64_t> words(Batch * Bytes / 8);
  std::vector<std::span<const std::byte>> batch;
  for (std::size_t i = 0; i < Batch; ++i)
    batch.push_back(std::as_bytes(std::span(words).subspan(i * Bytes / 8, Bytes / 8)));
  for (std::uint64_t n = 0; n < count; n += Batch) {
    for (std::size_t i = 0; i < Batch; ++i) fill(words.data() + i * Bytes / 8, Bytes, first + n + i);
    if (out.send_many(batch).status != Status::ok) fail("batch not sent");
  }
}

template <std::size_t Bytes, std::size_t Batch>
double consume(Consumer& in, std::size_t count) {
  Stopwatch watch;
  std::uint64_t n = 0;
  const auto see = [&](const MessageView& message) {
    check(message.bytes(), Bytes, n);
    watch.received(n++);
  };
  for (std::size_t seen = 0; seen < count;) {
    const BatchResult got = in.consume(see, kForever, Batch);
    if (got.status != Status::ok) fail("not received");
    seen += got.count;
  }
  return watch.rate(count);
}

}  // namespace ipcq::bench
