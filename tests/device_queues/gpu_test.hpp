// The fixture of the GPU tests: a broker in the test's process, with queues on GPU 0, and clients without a GPU.
// Without a GPU a test is skipped, and says why. Waits are bounded by kBound; if a call hangs nevertheless, a watchdog
// prints the rings and ends the process.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "device_queues/runners.hpp"
#include "eventually.hpp"
#include "ipcq/ipcq.hpp"
#include "queue_stats.hpp"
#include "stamped.hpp"

namespace ipcq_test {

using namespace ipcq;
using namespace std::chrono_literals;

// The bound of a whole test.
inline constexpr Duration kTestBound = 150s;

class GpuTest : public testing::Test {
 protected:
  GpuTest() {
    static std::atomic<unsigned> count{0};
    name_ = "gpu-" + std::to_string(getpid()) + "-" + std::to_string(count++);
  }

  void SetUp() override {
    // Tried once a process: it would fail again, and takes long.
    static const std::string why_not = try_gpu();
    if (!why_not.empty()) GTEST_SKIP() << why_not;
    watchdog_.emplace(kTestBound, [this] { return rings(); });
    broker_ = std::make_unique<Broker>(BrokerOptions{.name = name_, .log = log()});
    session_.emplace(connect({.broker = name_}));
  }

  void TearDown() override {
    if (HasFailure()) std::cerr << promptly([this] { return rings(); });
    session_.reset();
    if (broker_) broker_->stop();
    broker_.reset();
    if (watchdog_) {
      EXPECT_TRUE(eventually([] { return runners().empty(); })) << "a runner outlives its broker";
    }
    watchdog_.reset();
  }

  // Options of a small device queue, without anything that a test has not asked for.
  static QueueOptions on_gpu(const char* handler, ExecutorKind executor = ExecutorKind::persistent) {
    QueueOptions o;
    o.handler = handler;
    o.backend = "cuda";
    o.executor = executor;
    o.slots = 8;
    return o;
  }

  QueueStats stats(const std::string& queue = "q") const { return queue_of(broker_->stats(), queue); }
  GroupStats group_stats(const std::string& group = "default", const std::string& queue = "q") const {
    return group_of(stats(queue), group);
  }

  // Name of the shared memory of a queue or pool: kind "queue" or "pool".
  std::string segment(const char* kind, const std::string& of = "q") const {
    for (const auto& e : list_brokers()) {
      if (e.name != name_) continue;
      for (const auto& s : e.segments) {
        if (s.find(std::string("+") + kind + "+" + of + "+") != std::string::npos) return s;
      }
    }
    ADD_FAILURE() << "no segment of kind " << kind;
    return {};
  }

  std::string rings() const {
    std::string all;
    if (!broker_) return all;
    const BrokerStats s = broker_->stats();
    for (const auto& q : s.queues) {
      all += q.executor + (q.parked ? " (parked), processed " : ", processed ") + std::to_string(q.processed) + "; " +
             broker_->dump(q.name);
    }
    for (const pid_t pid : runners()) all += "runner " + std::to_string(pid) + " lives\n";
    return all;
  }

  static LogCallback log() {
    return [](LogLevel level, std::string_view text) {
      if (level >= LogLevel::error) std::cerr << "log: " << text << "\n";
    };
  }

  std::string name_;  // of the broker
  std::unique_ptr<Broker> broker_;
  std::optional<Session> session_;

 private:
  std::string try_gpu() const {
    try {
      Broker broker({.name = name_ + "-try"});
      broker.create("q", {.slots = 0, .handler = "identity", .backend = "cuda"});
      return {};
    } catch (const BackendError& e) {
      return e.what();
    }
  }

  std::optional<Watchdog> watchdog_;
};

inline const char* name_of(ExecutorKind kind) { return kind == ExecutorKind::stream ? "Stream" : "Persistent"; }

}  // namespace ipcq_test
