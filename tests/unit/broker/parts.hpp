// The parts of a broker without its control thread: a test calls what that thread would call, and checks the entries.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/broker_parts.hpp"

namespace ipcq::detail {

inline std::string unique_name() {
  static int count = 0;
  return "parts-" + std::to_string(getpid()) + "-" + std::to_string(++count);
}

// What a broker has logged. Given to it as callback, so it must outlive the broker.
class LogLines {
 public:
  LogCallback callback() {
    return [this](LogLevel, std::string_view text) {
      const std::scoped_lock lock(mutex_);
      all_.append(text).append("\n");
    };
  }
  bool has(const std::string& part) const {
    const std::scoped_lock lock(mutex_);
    return all_.find(part) != std::string::npos;
  }

 private:
  mutable std::mutex mutex_;
  std::string all_;  // guarded by the mutex
};

struct Parts : BrokerParts {
  // Without a name the broker gets one of its own.
  explicit Parts(BrokerOptions options = {}) : BrokerParts(named(std::move(options))) {}
  ~Parts() {
    const auto clients_gone = clients.take_all();
    registry.queues().clear();
    registry.pools().clear();
  }

  QueueEntry& create(const std::string& name, QueueOptions options) {
    registry.create_queue(name, options);
    return registry.find(name);
  }
  static BrokerOptions named(BrokerOptions options) {
    if (options.name.empty()) options.name = unique_name();
    return options;
  }
  static QueueOptions small() {
    QueueOptions o;
    o.slots = 4;
    o.size = 64;
    o.lines = 4;
    o.endpoints = 4;
    o.held = 4;
    return o;
  }
  // Connects this process as a client.
  ConnectedClient& connect() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    other_ends.emplace_back(ends[1]);
    auto client = std::make_unique<ConnectedClient>(Fd(ends[0]), closer);
    ConnectedClient& connected = *client;
    connected.pid = getpid();
    connected.uid = getuid();
    connected.pidfd = open_pidfd(getpid());
    connected.attached = true;
    clients.add(std::move(client));
    return connected;
  }
  Reply open(const ConnectedClient& client, Op op, const std::string& queue, const std::string& group = "default",
             std::uint32_t flags = 0) {
    Request r;
    r.op = op;
    r.flags = flags;
    set_text(r.name, sizeof r.name, queue);
    set_text(r.group, sizeof r.group, group);
    return endpoints.open(client, r);
  }

  std::vector<Fd> other_ends;
};

// Publishes one inline message as producer `client`. False when the ring is full.
inline bool send(const QueueEntry& q, std::uint32_t client) {
  std::uint64_t limit = 0;
  const PublishClaim c = q.map->ring().claim_publish(client, 1, limit);
  if (c.outcome != ClaimOutcome::ok) return false;
  Descriptor d;
  d.kind = LineKind::inlined;
  q.map->ring().write(c.ticket, d, nullptr);
  return true;
}
inline std::uint64_t end_ticket(const QueueEntry& q) {
  return q.map->control().end_ticket.load(std::memory_order_relaxed);
}

}  // namespace ipcq::detail
