// Catalogue: the calls of the hot path, one kind at a time, for callgrind to count their instructions. Nothing is
// timed; scripts/instruction-counts runs it and divides.
//
//   hot_path_bench --list    the paths
//   hot_path_bench PATH      warms up, makes its calls within counted_calls(), says how many messages these took
//
// Broker and clients are this one process. No call waits: each message is there when it is received, each line and slot
// is free when it is claimed.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <exception>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/peer.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq::bench {

namespace {

constexpr std::size_t kRounds = 25;
constexpr std::size_t kRound = 80;  // messages; what a consumer may hold, and the pool's slots, are more
constexpr std::size_t kBatch = 16;
constexpr std::size_t kInlineBytes = 48;
constexpr std::size_t kSlotBytes = 4096;
static_assert(kRound % kBatch == 0);

void check(Status status) {
  if (status != Status::ok) [[unlikely]]
    fail("not done: " + std::string(to_string(status)));
}

Broker start_broker(const std::string& name) {
  Broker broker({.name = name});
  broker.create_pool("pool", {.slots = 128, .size = kSlotBytes});
  broker.create("first", {.pool = "pool"});
  broker.create("second", {.pool = "pool"});
  return broker;
}

// Two direct queues of one pool, and both ends of each.
struct Clients {
  explicit Clients(const std::string& broker) : session(connect({.broker = broker})) {
    batch.fill(small);
    messages.resize(kRound);
  }

  std::array<std::byte, kInlineBytes> small{};
  std::array<std::byte, kSlotBytes> large{};
  std::array<std::span<const std::byte>, kBatch> batch;
  std::vector<Message> messages;

  Session session;
  Producer to_first = session.producer("first");
  Producer to_second = session.producer("second");
  Consumer of_first = session.consumer("first");
  Consumer of_second = session.consumer("second");
};

void nothing(Clients&) {}

void send_inline(Clients& c) {
  for (std::size_t i = 0; i < kRound; ++i) check(c.to_first.send(c.small));
}

void send_slot(Clients& c) {
  for (std::size_t i = 0; i < kRound; ++i) check(c.to_first.send(c.large));
}

void loan_and_publish(Clients& c) {
  for (std::size_t i = 0; i < kRound; ++i) {
    auto loan = c.to_first.loan();
    check(loan.status());
    check(loan->publish(kSlotBytes));
  }
}

void send_many(Clients& c) {
  for (std::size_t i = 0; i < kRound; i += kBatch) check(c.to_first.send_many(c.batch).status);
}

void receive_and_release(Clients& c) {
  for (std::size_t i = 0; i < kRound; ++i) {
    auto message = c.of_first.receive();
    check(message.status());
    check(message->release());
  }
}

void receive_many_and_release(Clients& c) {
  const auto batch = std::span(c.messages).first(kBatch);
  for (std::size_t i = 0; i < kRound; i += kBatch) {
    const BatchResult got = c.of_first.receive_many(batch);
    check(got.status);
    if (got.count != kBatch) fail("messages missing");
    for (Message& m : batch) check(m.release());
  }
}

void receive_into(Clients& c) {
  for (std::size_t i = 0; i < kRound; ++i) check(c.of_first.receive_into(c.large).status());
}

void consume(Clients& c) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < kRound; i += kBatch) {
    const BatchResult got =
        c.of_first.consume([&](const MessageView& m) { bytes += m.bytes().size(); }, kForever, kBatch);
    check(got.status);
    if (got.count != kBatch) fail("messages missing");
  }
  if (bytes == 0) fail("empty messages");
}

void send_slots_and_receive(Clients& c) {
  send_slot(c);
  for (Message& m : c.messages) {
    auto message = c.of_first.receive();
    check(message.status());
    m = std::move(*message);
  }
}

void forward(Clients& c) {
  for (Message& m : c.messages) check(c.to_second.forward(m));
}

void drain_second(Clients& c) {
  for (std::size_t i = 0; i < kRound; ++i) check(c.of_second.receive().status());
}

using Calls = void (*)(Clients&);

struct Path {
  const char* name;
  Calls before;
  Calls calls;  // a round of kRound messages
  Calls after;
};

constexpr Path kPaths[] = {
    {"send, inline", nothing, send_inline, receive_and_release},
    {"send, slot", nothing, send_slot, receive_and_release},
    {"loan and publish, slot", nothing, loan_and_publish, receive_and_release},
    {"send_many of 16, inline", nothing, send_many, receive_and_release},
    {"receive and release, inline", send_inline, receive_and_release, nothing},
    {"receive and release, slot", send_slot, receive_and_release, nothing},
    {"receive_many of 16 and release, inline", send_inline, receive_many_and_release, nothing},
    {"receive_many of 16 and release, slot", send_slot, receive_many_and_release, nothing},
    {"receive_into, inline", send_inline, receive_into, nothing},
    {"receive_into, slot", send_slot, receive_into, nothing},
    {"consume of 16, inline", send_inline, consume, nothing},
    {"consume of 16, slot", send_slot, consume, nothing},
    {"forward within a pool, slot", send_slots_and_receive, forward, drain_second},
};

// Callgrind counts in here alone: it knows a function by its name. The empty statement keeps the call a call.
[[gnu::noinline]] void counted_calls(Calls calls, Clients& clients) {
  calls(clients);
  asm volatile("" ::: "memory");
}

void run(const Path& path) {
  const std::string name = "hot-path-" + std::to_string(getpid());
  Broker broker = start_broker(name);
  Clients clients(name);
  for (std::size_t round = 0; round < kRounds; ++round) {
    path.before(clients);
    path.calls(clients);
    path.after(clients);
  }
  for (std::size_t round = 0; round < kRounds; ++round) {
    path.before(clients);
    counted_calls(path.calls, clients);
    path.after(clients);
  }
  std::printf("%zu\n", kRounds * kRound);
}

}  // namespace

}  // namespace ipcq::bench

int main(int argc, char** argv) {
  using namespace ipcq::bench;
  const std::string asked = argc == 2 ? argv[1] : "";
  try {
    for (const Path& path : kPaths) {
      if (asked == "--list") std::puts(path.name);
      if (asked != path.name) continue;
      run(path);
      return 0;
    }
  } catch (const std::exception& e) {
    fail(e.what());
  }
  if (asked == "--list") return 0;
  std::fputs("usage: hot_path_bench --list | PATH\n", stderr);
  return 2;
}
