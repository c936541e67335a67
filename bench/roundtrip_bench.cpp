// Catalogue: two-process round trip and one-way rate of 64-byte messages; rate beside a held slot.
//
//   roundtrip/bare      two words in shared memory, each process spins on the other's: the floor
//   roundtrip/ipcq      two direct queues, spin; timed in the client, send to receipt of the answer
//   roundtrip/boost_mq  two boost::interprocess::message_queue
//   oneway/ipcq         send_many and receive_many in batches of 128, hybrid waits (as Boost's queue, which sleeps,
//                       it must not suffer where other work takes a core away); timed from the first receipt to the
//                       last, every message's number checked; "delivered" means received, read and released
//   oneway/boost_mq     send and receive
//   held                4 KiB slots, producer and consumer in two processes: a pool of 8 slots, one of them on loan all
//                       the time, and a pool of 7; five runs of each in turn, medians
//
// The last lines give the ratios. Figures in counters: times in ns, rates per second.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <chrono>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "common/clock.hpp"
#include "common/numbered.hpp"
#include "common/peer.hpp"
#include "common/report.hpp"
#include "common/two_hops.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq::bench {

namespace {

namespace bip = boost::interprocess;

constexpr std::size_t kBytes = 64;
constexpr std::size_t kRoundTrips = 200'000;
constexpr std::size_t kWarmUp = 20'000;
constexpr std::size_t kOneWay = 4'000'000;
constexpr std::size_t kBatch = 128;
constexpr std::size_t kSlotMessages = 400'000;

// Times `trip` alone; each returns when its answer is there.
template <class Trip>
void time_round_trips(benchmark::State& state, const std::string& name, Trip trip) {
  std::vector<std::uint64_t> ns;
  ns.reserve(kRoundTrips);
  for (auto _ : state) {
    for (std::size_t i = 0; i < kWarmUp; ++i) trip(i);
    for (std::size_t i = kWarmUp; i < kWarmUp + kRoundTrips; ++i) {
      const std::uint64_t start = now_ns();
      trip(i);
      ns.push_back(now_ns() - start);
    }
  }
  report_times(state, name, kNanoseconds, ns);
}

struct Words {
  alignas(128) std::atomic<std::uint64_t> request;
  alignas(128) std::atomic<std::uint64_t> answer;
};

void roundtrip_bare(benchmark::State& state) {
  const SharedMemory<Words> words;
  const auto await = [](std::atomic<std::uint64_t>& word, std::uint64_t value) {
    while (word.load(std::memory_order_acquire) != value) __builtin_ia32_pause();
  };
  const Peer peer([&] {
    for (std::uint64_t i = 1; i <= kWarmUp + kRoundTrips; ++i) {
      await(words->request, i);
      words->answer.store(i, std::memory_order_release);
    }
  });
  time_round_trips(state, "roundtrip/bare", [&](std::size_t i) {
    words->request.store(i + 1, std::memory_order_release);
    await(words->answer, i + 1);
  });
}

void roundtrip_ipcq(benchmark::State& state) {
  with_two_hops([&](const auto& trip) {
    HopMessage message = {};
    time_round_trips(state, "roundtrip/ipcq", [&](std::size_t i) {
      std::memcpy(message, &i, sizeof i);
      trip(message);
    });
  });
}

void roundtrip_boost(benchmark::State& state) {
  const std::string request = broker_name() + "-request", answer = broker_name() + "-answer";
  bip::message_queue requests(bip::create_only, request.c_str(), 1024, kBytes);
  bip::message_queue answers(bip::create_only, answer.c_str(), 1024, kBytes);
  {
    const Peer peer([&] {
      std::byte message[kBytes];
      bip::message_queue::size_type got = 0;
      unsigned priority = 0;
      for (std::size_t i = 0; i < kWarmUp + kRoundTrips; ++i) {
        requests.receive(message, sizeof message, got, priority);
        answers.send(message, got, 0);
      }
    });
    std::byte message[kBytes] = {};
    bip::message_queue::size_type got = 0;
    unsigned priority = 0;
    time_round_trips(state, "roundtrip/boost_mq", [&](std::size_t i) {
      std::memcpy(message, &i, sizeof i);
      requests.send(message, sizeof message, 0);
      answers.receive(message, sizeof message, got, priority);
    });
  }
  bip::message_queue::remove(request.c_str());
  bip::message_queue::remove(answer.c_str());
}

void oneway_ipcq(benchmark::State& state) {
  const std::string& name = broker_name();
  double rate = 0;
  for (auto _ : state) {
    const Peer peer([&] {
      auto session = connect({.broker = name, .wait_for = std::chrono::seconds(5)});
      auto out = session.producer("stream", {.wait = Wait::hybrid(), .wait_for = std::chrono::seconds(5)});
      send_numbered<kBatch, kBytes>(out, kOneWay);
    });
    Broker broker({.name = name});
    broker.create("stream", {.slots = 0, .lines = 1024, .held = kBatch});
    auto session = connect({.broker = name});
    auto in = session.consumer("stream", {.wait = Wait::hybrid()});
    std::vector<Message> batch(kBatch);
    Clock::time_point start;
    std::size_t n = 0;
    for (;;) {
      const auto got = in.receive_many(batch);
      if (got.status == Status::end) break;
      if (got.status != Status::ok) fail("receive failed");
      if (n == 0) start = Clock::now();
      check_numbered(std::span(batch.data(), got.count), n);
      if (n == kOneWay) rate = static_cast<double>(kOneWay) / seconds_since(start);
    }
    if (n != kOneWay) fail("messages missing");
  }
  report_figure(state, "oneway/ipcq", "messages_per_s", rate);
}

void oneway_boost(benchmark::State& state) {
  const std::string name = broker_name() + "-stream";
  double rate = 0;
  for (auto _ : state) {
    bip::message_queue queue(bip::create_only, name.c_str(), 1024, kBytes);
    {
      const Peer peer([&] {
        std::byte message[kBytes] = {};
        for (std::size_t i = 0; i < kOneWay; ++i) {
          std::memcpy(message, &i, sizeof i);
          queue.send(message, sizeof message, 0);
        }
      });
      std::byte message[kBytes];
      bip::message_queue::size_type got = 0;
      unsigned priority = 0;
      Clock::time_point start;
      for (std::size_t i = 0; i < kOneWay; ++i) {
        queue.receive(message, sizeof message, got, priority);
        if (i == 0) start = Clock::now();
        if (std::memcmp(message, &i, sizeof i) != 0) fail("wrong message");
      }
      rate = static_cast<double>(kOneWay) / seconds_since(start);
    }
    bip::message_queue::remove(name.c_str());
  }
  report_figure(state, "oneway/boost_mq", "messages_per_s", rate);
}

// Messages per second through a pool of `slots` slots, one of which is on loan all the time if `held`.
double slot_rate(std::uint32_t slots, bool held) {
  const std::string& name = broker_name();
  constexpr std::size_t kSlot = 4096;
  double rate = 0;
  {
    const Peer peer([&] {
      auto session = connect({.broker = name, .wait_for = std::chrono::seconds(5)});
      auto out = session.producer("slots", {.wait = Wait::spin(), .wait_for = std::chrono::seconds(5)});
      auto keep = held ? out.loan() : Result<Loan>(Status::empty);
      for (std::size_t i = 0; i < kSlotMessages; ++i) {
        auto loan = out.loan();
        if (!loan) fail("no loan");
        std::memset(loan->bytes().data(), static_cast<int>(i), kSlot);
        if (loan->publish(kSlot) != Status::ok) fail("not published");
      }
    });
    Broker broker({.name = name});
    broker.create("slots", {.slots = slots, .size = kSlot});
    auto session = connect({.broker = name});
    auto in = session.consumer("slots", {.wait = Wait::spin()});
    std::size_t n = 0;
    Clock::time_point start;
    for (auto& m : in) {
      if (n == 0) start = Clock::now();
      const auto expected = static_cast<std::byte>(n);
      if (m.bytes().front() != expected || m.bytes().back() != expected) fail("wrong bytes");
      if (++n == kSlotMessages) rate = static_cast<double>(n) / seconds_since(start);
    }
    if (n != kSlotMessages) fail("messages missing");
  }
  return rate;
}

void held(benchmark::State& state) {
  std::vector<double> seven, eight;
  for (auto _ : state) {
    for (int i = 0; i < 5; ++i) {
      seven.push_back(slot_rate(7, false));
      eight.push_back(slot_rate(8, true));
    }
  }
  report_figure(state, "held/7", "of7_per_s", median(seven));
  report_figure(state, "held/8", "of8_one_held_per_s", median(eight));
}

void print_last_lines() {
  const Summary lines(58, 7);
  lines.ratio("round trip p50: ipcq / bare ping-pong", "roundtrip/ipcq", "roundtrip/bare", at_most(2.5));
  lines.ratio("round trip p50: ipcq / Boost message_queue", "roundtrip/ipcq", "roundtrip/boost_mq", at_most(0.2));
  lines.ratio("one way, batched: ipcq / Boost message_queue", "oneway/ipcq", "oneway/boost_mq", at_least(5));
  lines.ratio("8 slots with one held / 7 slots", "held/8", "held/7", at_least(0.9));
}

}  // namespace

BENCHMARK(roundtrip_bare)->Name("roundtrip/bare")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(roundtrip_ipcq)->Name("roundtrip/ipcq")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(roundtrip_boost)->Name("roundtrip/boost_mq")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(oneway_ipcq)->Name("oneway/ipcq")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(oneway_boost)->Name("oneway/boost_mq")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(held)->Name("held")->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace ipcq::bench

int main(int argc, char** argv) { return ipcq::bench::run_benchmarks(argc, argv, ipcq::bench::print_last_lines); }
