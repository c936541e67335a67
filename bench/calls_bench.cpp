// Catalogue: calls between processes on the CPU.
//
//   hops               two direct queues, spin: 64 B there and back, as roundtrip_bench's roundtrip/ipcq
//   call               64 B to a server and back to its call, spin
//   call/handler       64 B to the queue's handler (identity) and back to its call, spin
//   many               64 clients, each a process with 4096 calls under way, 10 million in all; two servers hold up to
//                      1024 requests each and answer them in random order; 48 B; every reply's call is checked. From
//                      the first request to the last reply
//
// The last lines give the ratios. Figures in counters: times in ns, rates per second. IPCQ_BENCH_SCALE=0.1 makes a
// tenth of the calls.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/clock.hpp"
#include "common/peer.hpp"
#include "common/report.hpp"
#include "common/two_hops.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq::bench {

namespace {

constexpr std::size_t kBytes = kHopBytes;
constexpr std::size_t kRoundTrips = 200'000;
constexpr std::size_t kWarmUp = 20'000;
constexpr auto kAppears = std::chrono::seconds(5);

double scale() {
  const char* const text = std::getenv("IPCQ_BENCH_SCALE");
  return text != nullptr ? std::atof(text) : 1.0;
}

// `trip(message)` returns the answer's bytes, equal to the message's.
template <class Trip>
void time_trips(benchmark::State& state, const std::string& name, Trip trip) {
  std::vector<std::uint64_t> ns;
  ns.reserve(kRoundTrips);
  std::byte message[kBytes] = {};
  for (auto _ : state) {
    for (std::size_t i = 0; i < kWarmUp + kRoundTrips; ++i) {
      std::memcpy(message, &i, sizeof i);
      const std::uint64_t start = now_ns();
      trip(message);
      if (i >= kWarmUp) ns.push_back(now_ns() - start);
    }
  }
  report_times(state, name, kNanoseconds, ns);
}

void expect_same(std::span<const std::byte> answer, const std::byte (&message)[kBytes]) {
  if (answer.size() != kBytes || std::memcmp(answer.data(), message, kBytes) != 0) fail("wrong answer");
}

void hops(benchmark::State& state) {
  with_two_hops([&](const auto& trip) { time_trips(state, "hops", trip); });
}

void time_calls(benchmark::State& state, const char* name, Session& session) {
  auto client = session.client("ask", {.wait = Wait::spin()});
  time_trips(state, name, [&](const std::byte(&message)[kBytes]) {
    auto call = client.request(message);
    if (!call) fail("request not sent");
    const auto reply = call->receive();
    if (!reply) fail("no reply");
    expect_same(reply->bytes(), message);
  });
}

void call(benchmark::State& state) {
  const std::string& name = broker_name();
  Peer peer([&] {
    auto session = connect({.broker = name, .wait_for = kAppears});
    auto server = session.server("ask", {.wait = Wait::spin(), .wait_for = kAppears});
    for (;;) {
      auto request = server.receive();
      if (!request) return;  // the broker has stopped
      if (request->reply(request->bytes()) != Status::ok) fail("not answered");
    }
  });
  {
    Broker broker({.name = name});
    broker.create("ask", {.slots = 0, .calls = 16});
    auto session = connect({.broker = name});
    time_calls(state, "call", session);
  }
  peer.join();
}

void call_handler(benchmark::State& state) {
  Broker broker({.name = broker_name()});
  broker.create("ask", {.slots = 0, .handler = "identity", .backend = "host", .wait = Wait::spin(), .calls = 16});
  auto session = connect({.broker = broker_name()});
  time_calls(state, "call/handler", session);
}

// ---- many clients ----

constexpr std::uint32_t kClients = 64;
constexpr std::uint32_t kServers = 2;
constexpr std::uint32_t kUnderWay = 4096;
constexpr std::size_t kHeld = 1024;

struct Shared {
  std::uint64_t first_ns[kClients];
  std::uint64_t last_ns[kClients];
};

struct Question {
  std::uint64_t client;
  std::uint64_t number;
  std::uint64_t rest[4];
};
static_assert(sizeof(Question) == 48);

void ask_many(const std::string& name, std::uint64_t id, std::size_t count, Shared& shared) {
  auto session = connect({.broker = name, .wait_for = kAppears});
  auto client = session.client("ask", {.wait_for = kAppears});
  std::unordered_map<std::uint64_t, std::pair<Call, std::uint64_t>> calls;
  calls.reserve(kUnderWay);
  shared.first_ns[id] = now_ns();
  for (std::size_t asked = 0; asked < count || !calls.empty();) {
    while (asked < count && calls.size() < kUnderWay) {
      const Question question[1] = {{id, asked, {}}};
      auto made = client.request(std::as_bytes(std::span(question)));
      if (!made) fail("request not sent: " + std::string(to_string(made.status())));
      const std::uint64_t key = made->id();
      calls.emplace(key, std::pair(std::move(*made), asked++));
    }
    const auto ready = client.wait_any();
    if (!ready) fail("no reply: " + std::string(to_string(ready.status())));
    const auto it = calls.find(*ready);
    if (it == calls.end()) fail("a reply to no call");
    const auto reply = it->second.first.poll();
    Question answer{};
    if (!reply || reply->length() != sizeof answer) fail("no reply");
    std::memcpy(&answer, reply->bytes().data(), sizeof answer);
    if (answer.client != id || answer.number != it->second.second || answer.rest[3] != ~answer.number) {
      fail("another call's reply");
    }
    calls.erase(it);
  }
  shared.last_ns[id] = now_ns();
}

void serve_many(const std::string& name, unsigned seed) {
  auto session = connect({.broker = name, .wait_for = kAppears});
  auto server = session.server("ask", {.wait_for = kAppears});
  std::mt19937 random(seed);
  std::vector<Request> held;
  for (;;) {
    auto request = server.receive(held.empty() ? Timeout(kForever) : Timeout(Duration::zero()));
    if (request) held.push_back(std::move(*request));
    if (request && held.size() < kHeld) continue;
    if (!request && request.status() != Status::empty) return;  // the broker has stopped
    std::shuffle(held.begin(), held.end(), random);
    for (Request& r : held) {
      Question answer{};
      std::memcpy(&answer, r.bytes().data(), sizeof answer);
      answer.rest[3] = ~answer.number;
      if (r.reply(std::as_bytes(std::span(&answer, 1))) != Status::ok) fail("not answered");
    }
    held.clear();
  }
}

void many(benchmark::State& state) {
  const auto each = std::max<std::size_t>(static_cast<std::size_t>(10e6 * scale()) / kClients, 1);
  const std::string& name = broker_name();
  const SharedMemory<Shared> shared;
  double rate = 0;
  for (auto _ : state) {
    std::vector<std::unique_ptr<Peer>> clients, servers;
    for (unsigned s = 0; s < kServers; ++s) servers.push_back(std::make_unique<Peer>([&] { serve_many(name, s); }));
    for (std::uint64_t id = 0; id < kClients; ++id) {
      clients.push_back(std::make_unique<Peer>([&, id] { ask_many(name, id, each, *shared); }));
    }
    {
      Broker broker({.name = name});
      broker.create("ask", {.slots = 0,
                            .lines = kClients * kUnderWay,
                            .endpoints = kClients + kServers,
                            .held = kHeld,
                            .calls = kUnderWay});
      for (auto& c : clients) c->join();
      const auto q = broker.stats().queues.at(0);
      if (q.calls_open + q.calls_answered + q.calls_cancelled != 0) fail("calls are left");
    }
    for (auto& s : servers) s->join();
    const auto [first, last] = std::pair(*std::min_element(std::begin(shared->first_ns), std::end(shared->first_ns)),
                                         *std::max_element(std::begin(shared->last_ns), std::end(shared->last_ns)));
    rate = static_cast<double>(each * kClients) * 1e9 / static_cast<double>(last - first);
  }
  report_figure(state, "many", "calls_per_s", rate);
}

void print_last_lines() {
  const Summary lines(58, 7);
  lines.ratio("64 B p50: call to a server / two hops", "call", "hops", at_most(1.3));
  lines.ratio("64 B p50: call to a handler on the host / two hops", "call/handler", "hops");
  lines.figure("64 clients with 4096 calls under way, random order", "many", 1e6, "M calls/s");
}

}  // namespace

BENCHMARK(hops)->Name("hops")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(call)->Name("call")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(call_handler)->Name("call/handler")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(many)->Name("many")->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace ipcq::bench

int main(int argc, char** argv) { return ipcq::bench::run_benchmarks(argc, argv, ipcq::bench::print_last_lines); }
