// The floor of one-way benchmarks: a ring in shared memory for one producer and one consumer, with the same bytes and
// depth as the queue beside it and nothing of its guarantees: no owner of a word, no repair, no groups, no sleep.
//
// A line is a sequence word and the payload, rounded up to whole cache lines. One message a call: the producer stores
// the sequence word last, and the consumer that loads it gets the payload's first bytes with it. In batches: the
// producer stores how many it has sent in a word of its own, once a batch. Either way the consumer stores how many it
// has read once a quarter of the ring, and the producer loads that only when no line is left that it knows to be free.
// Spins.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "common/peer.hpp"

namespace ipcq::bench {

template <std::size_t Bytes, std::size_t Depth>
class BareRing {
  static_assert(Bytes % 8 == 0 && (Depth & (Depth - 1)) == 0);

 public:
  struct alignas(64) Line {
    std::atomic<std::uint64_t> sequence;  // 1 + the message's place; 0: never written
    std::uint64_t words[Bytes / 8];
  };

  // Waits for room, calls fill(words) and publishes what that wrote.
  template <class Fill>
  void send(Fill fill) {
    await_room(1);
    Line& line = lines_[sent_ % Depth];
    fill(line.words);
    line.sequence.store(++sent_, std::memory_order_release);
  }
  // The same for `count` messages, which readers see together: fill(words, i).
  template <class Fill>
  void send_batch(std::size_t count, Fill fill) {
    await_room(count);
    for (std::size_t i = 0; i < count; ++i) fill(lines_[sent_++ % Depth].words, i);
    shown_->store(sent_, std::memory_order_release);
  }

  // Waits for the next message and calls look(words) where it lies.
  template <class Look>
  void receive(Look look) {
    Line& line = lines_[received_ % Depth];
    while (line.sequence.load(std::memory_order_acquire) != received_ + 1) __builtin_ia32_pause();
    look(line.words);
    count_received();
  }
  // The same for all that were sent in batches so far, one or more. Returns how many.
  template <class Look>
  std::size_t receive_batch(Look look) {
    std::uint64_t shown = 0;
    while ((shown = shown_->load(std::memory_order_acquire)) == received_) __builtin_ia32_pause();
    const std::size_t count = shown - received_;
    for (std::size_t i = 0; i < count; ++i) {
      look(lines_[received_ % Depth].words, i);
      count_received();
    }
    return count;
  }

 private:
  struct alignas(128) Position : std::atomic<std::uint64_t> {};

  void await_room(std::size_t count) {
    while (sent_ + count > room_) {
      room_ = read_->load(std::memory_order_acquire) + Depth;
      if (sent_ + count > room_) __builtin_ia32_pause();
    }
  }
  void count_received() {
    if (++received_ % (Depth / 4) == 0) read_->store(received_, std::memory_order_release);
  }

  SharedMemory<Line> lines_{Depth};
  SharedMemory<Position> shown_;
  SharedMemory<Position> read_;
  std::uint64_t sent_ = 0;      // of the producer
  std::uint64_t room_ = Depth;  // of the producer: places up to here are free
  std::uint64_t received_ = 0;  // of the consumer
};

}  // namespace ipcq::bench
