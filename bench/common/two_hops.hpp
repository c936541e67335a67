// 64 bytes to another process through one direct queue and back through another; all sides spin.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstring>

#include "common/peer.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq::bench {

inline constexpr std::size_t kHopBytes = 64;
using HopMessage = std::byte[kHopBytes];

// Not in the template: GCC 12 fails at such initialisers there.
inline QueueOptions hop_queue() { return {.slots = 0}; }
inline ConnectOptions hop_peer() { return {.broker = broker_name(), .wait_for = std::chrono::seconds(5)}; }
inline ConsumerOptions hop_end() { return {.wait = Wait::spin(), .wait_for = std::chrono::seconds(5)}; }
inline ProducerOptions hop_start() { return {.wait = Wait::spin(), .wait_for = std::chrono::seconds(5)}; }

// Calls `body(trip)` with the queues open. `trip(message)` sends it, and returns when the same bytes are back.
template <class Body>
void with_two_hops(Body body) {
  const Peer peer([&] {
    auto session = connect(hop_peer());
    auto requests = session.consumer("request", hop_end());
    auto answers = session.producer("answer", hop_start());
    for (auto& m : requests) {
      if (answers.send(m.bytes()) != Status::ok) fail("answer not sent");
    }
  });
  BrokerOptions options;
  options.name = broker_name();
  Broker broker(options);
  broker.create("request", hop_queue());
  broker.create("answer", hop_queue());
  auto session = connect(hop_peer());
  auto requests = session.producer("request", hop_start());
  auto answers = session.consumer("answer", hop_end());
  body([&](const HopMessage& message) {
    if (requests.send(message) != Status::ok) fail("request not sent");
    auto answer = answers.receive();
    if (!answer) fail("no answer");
    if (answer->bytes().size() != kHopBytes || std::memcmp(answer->bytes().data(), message, kHopBytes) != 0) {
      fail("wrong answer");
    }
  });
  requests.close();  // the peer ends
}

}  // namespace ipcq::bench
