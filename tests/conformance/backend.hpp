// The backends that the conformance suite is instantiated with, and the fixture of its tests: an embedded broker, and
// clients as threads of one process with one mapping, so that ThreadSanitizer sees all accesses. Every wait is bounded
// by kBound.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include "eventually.hpp"
#include "ipcq/ipcq.hpp"
#include "queue_stats.hpp"
#include "stamped.hpp"

namespace ipcq_test {

using namespace ipcq;
using namespace std::chrono_literals;

// One way to run a queue.
struct Backend {
  const char* name;
  const char* backend;  // QueueOptions::backend
  const char* handler;  // QueueOptions::handler; must leave payloads as they are
  ExecutorKind executor = ExecutorKind::auto_;
};
inline void PrintTo(const Backend& b, std::ostream* out) { *out << b.name; }

// The backends of the present program. Each program of this suite links host_backends.cpp or cuda_backends.cpp; all
// other sources are compiled once for both.
std::vector<Backend> backends();
// Holds the GPU until the program ends. Returns why there is none, or an empty string. Does nothing on the host.
std::string start_device();

// How long a test watches that nothing happens.
inline constexpr Duration kMoment = 20ms;

class BackendTest : public testing::TestWithParam<std::tuple<Backend, Wait::Kind, Wait::Kind>> {
 protected:
  BackendTest() : broker_(BrokerOptions{.name = next_name()}), session_(connect({.broker = name_})) {}

  void SetUp() override {
    static const std::string why_not = start_device();
    if (!why_not.empty()) GTEST_SKIP() << why_not;
  }

  // Expects that no queue holds a slot or a message that no group waits for, once all endpoints are closed.
  void TearDown() override {
    for (const auto& q : broker_.stats().queues) {
      if (q.state != "open") continue;
      EXPECT_EQ(q.claimed, 0u) << broker_.dump(q.name);
      bool waiting = false;
      for (const auto& g : q.groups) waiting = waiting || g.waiting + g.held != 0;
      if (!waiting) {
        EXPECT_EQ(q.empty, q.slots) << broker_.dump(q.name);
      }
      for (const auto& e : q.endpoints) ADD_FAILURE() << e.role << " " << e.id << " of queue " << q.name << " is left";
    }
  }

  Wait producer_wait() const { return wait_of(std::get<1>(GetParam())); }
  Wait consumer_wait() const { return wait_of(std::get<2>(GetParam())); }

  void create(const std::string& queue, QueueOptions options = {}) {
    options.handler = std::get<0>(GetParam()).handler;
    create_as_is(queue, options);
  }
  // Creates a queue with the options' handler, or none.
  void create_as_is(const std::string& queue, QueueOptions options) {
    options.backend = std::get<0>(GetParam()).backend;
    options.executor = std::get<0>(GetParam()).executor;
    broker_.create(queue, options);
  }
  void create_pool(const std::string& pool, PoolOptions options) {
    options.backend = std::get<0>(GetParam()).backend;
    broker_.create_pool(pool, options);
  }
  bool on_gpu() const { return std::string_view(std::get<0>(GetParam()).backend) == "cuda"; }
  bool has_handler() const { return *std::get<0>(GetParam()).handler != '\0'; }

  Producer producer(const std::string& queue = "q") { return session_.producer(queue, {.wait = producer_wait()}); }
  Consumer consumer(const std::string& queue = "q", const std::string& group = "default", Until until = Until::end) {
    return session_.consumer(queue, {.group = group, .wait = consumer_wait(), .until = until});
  }

  QueueStats stats(const std::string& queue = "q") const { return queue_of(broker_.stats(), queue); }
  GroupStats group_stats(const std::string& group = "default", const std::string& queue = "q") const {
    return group_of(stats(queue), group);
  }

  // Waits until the executor has processed all that was published.
  [[nodiscard]] bool all_processed(const std::string& queue = "q") const {
    return eventually([&] {
      const QueueStats s = stats(queue);
      return s.ready + s.inflight == 0;
    });
  }

  // The stamps of all messages received until the status is `end`, or any other than ok.
  struct Received {
    std::vector<Stamp> stamps;
    Status last = Status::ok;
    bool intact = true;
  };
  static Received receive_all(Consumer& c) {
    Received r;
    for (;;) {
      auto m = c.receive(kBound);
      r.last = m.status();
      if (!m) return r;
      const auto s = read_stamp(m->bytes());
      r.intact = r.intact && s.has_value();
      if (s) r.stamps.push_back(*s);
    }
  }

  static std::vector<std::uint64_t> sequences_of(const std::vector<Stamp>& stamps, std::uint32_t producer) {
    std::vector<std::uint64_t> s;
    for (const auto& stamp : stamps) {
      if (stamp.producer == producer) s.push_back(stamp.sequence);
    }
    return s;
  }

  static Status send(Producer& p, std::uint32_t producer, std::uint64_t sequence, std::size_t bytes = kStampBytes,
                     Duration timeout = kBound) {
    return p.send(stamped(producer, sequence, bytes), timeout);
  }
  // `each` messages of every one of `count` producers, which send at the same time. All are open before the first
  // closes: the end comes after the last.
  void send_from_each(std::uint32_t count, std::uint64_t each, std::size_t (*bytes_of)(std::uint64_t sequence)) {
    std::vector<Producer> producers;
    for (std::uint32_t id = 0; id < count; ++id) producers.push_back(producer());
    std::vector<std::thread> senders;
    for (std::uint32_t id = 0; id < count; ++id) {
      senders.emplace_back([=, p = std::move(producers[id])]() mutable {
        for (std::uint64_t i = 0; i < each; ++i) ASSERT_EQ(send(p, id, i, bytes_of(i)), Status::ok);
      });
    }
    for (auto& s : senders) s.join();
  }
  // The members of one group have come to the end, and got each of those once, in order by producer.
  static void expect_each_once(std::vector<std::future<Received>>& readers, std::uint32_t count, std::uint64_t each) {
    std::map<std::pair<std::uint32_t, std::uint64_t>, int> seen;
    for (auto& reader : readers) {
      const Received r = reader.get();
      EXPECT_EQ(r.last, Status::end);
      EXPECT_TRUE(r.intact);
      for (std::uint32_t id = 0; id < count; ++id) {
        const auto s = sequences_of(r.stamps, id);
        EXPECT_TRUE(std::is_sorted(s.begin(), s.end())) << testing::PrintToString(s);
      }
      for (const auto& s : r.stamps) ++seen[{s.producer, s.sequence}];
    }
    EXPECT_EQ(seen.size(), count * each);
    for (const auto& [message, times] : seen) EXPECT_EQ(times, 1) << message.first << ":" << message.second;
  }
  // Sequence of the next message, -1 when there is none within `timeout`.
  static std::int64_t next_sequence(Consumer& c, Duration timeout = kBound) {
    auto m = c.receive(timeout);
    if (!m) return -1;
    const auto s = read_stamp(m->bytes());
    return s ? static_cast<std::int64_t>(s->sequence) : -2;
  }

  static std::string next_name() {
    static std::atomic<unsigned> count{0};
    return "conformance-" + std::to_string(getpid()) + "-" + std::to_string(count++);
  }

 private:
  static Wait wait_of(Wait::Kind kind) {
    switch (kind) {
      case Wait::Kind::spin:
        return Wait::spin();
      case Wait::Kind::hybrid:
        return Wait::hybrid();
      case Wait::Kind::sleep:
        return Wait::sleep();
    }
    return Wait::hybrid();
  }

 protected:
  Broker broker_;
  std::string name_ = broker_name(broker_);
  Session session_;

 private:
  static std::string broker_name(const Broker& broker) { return broker.stats().name; }
};

inline std::string name_of_case(const testing::TestParamInfo<std::tuple<Backend, Wait::Kind, Wait::Kind>>& info_) {
  const auto& [backend, producer, consumer] = info_.param;
  std::string name = backend.name;
  for (const auto kind : {producer, consumer}) {
    name += kind == Wait::Kind::spin ? "Spin" : kind == Wait::Kind::hybrid ? "Hybrid" : "Sleep";
  }
  return name;
}

// For tests in which the data path waits: every backend, with every wait strategy on both sides.
#define IPCQ_INSTANTIATE_WITH_ALL_WAITS(Suite)                                                                         \
  INSTANTIATE_TEST_SUITE_P(, Suite,                                                                                    \
                           testing::Combine(testing::ValuesIn(backends()),                                             \
                                            testing::Values(Wait::Kind::spin, Wait::Kind::hybrid, Wait::Kind::sleep),  \
                                            testing::Values(Wait::Kind::spin, Wait::Kind::hybrid, Wait::Kind::sleep)), \
                           name_of_case)
// For all other tests: every backend once.
#define IPCQ_INSTANTIATE_PER_BACKEND(Suite)                                                                     \
  INSTANTIATE_TEST_SUITE_P(, Suite,                                                                             \
                           testing::Combine(testing::ValuesIn(backends()), testing::Values(Wait::Kind::hybrid), \
                                            testing::Values(Wait::Kind::hybrid)),                               \
                           name_of_case)

}  // namespace ipcq_test
