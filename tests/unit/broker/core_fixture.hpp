// A broker without its public class, and a session of this process as its client.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/crash_point.hpp"
#include "broker/broker_core.hpp"
#include "broker/broker_names.hpp"
#include "eventually.hpp"
#include "ipcq/session.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq::detail {

class BrokerCoreFixture : public testing::Test {
 protected:
  using Stop = std::future<std::uint64_t>;

  ~BrokerCoreFixture() override { set_crash_point_hook(nullptr); }

  BrokerOptions options() {
    return {.name = path_, .log = [this](LogLevel, std::string_view text) {
              std::this_thread::sleep_for(std::chrono::milliseconds(20));  // so that lines wait for it
              log_.emplace_back(text);
            }};
  }
  void create(const std::string& queue) {
    core_->administration().create_queue(queue, {.slots = 4, .size = 64, .lines = 4});
  }
  // A queue with kUnread messages, and a member of its group that has taken none.
  void create_unread(const std::string& queue = "q") {
    create(queue);
    producer_ = session_.producer(queue);
    for (std::uint64_t i = 0; i < kUnread; ++i) ASSERT_EQ(producer_.send("text", ipcq_test::kBound), Status::ok);
    consumer_ = session_.consumer(queue);
  }
  std::string state() const { return core_->stats().queues.at(0).state; }
  std::uint64_t stop(Deadline by) { return core_->stop(by); }
  Stop stop_elsewhere(Deadline by) {
    return std::async(std::launch::async, [this, by] { return stop(by); });
  }
  // A stop that has begun, and waits for the consumer.
  Stop begin_stop() {
    Stop stopping = stop_elsewhere(Deadline(2 * ipcq_test::kBound));
    EXPECT_TRUE(ipcq_test::eventually([&] { return state() == "draining"; }));
    return stopping;
  }
  // What a stop returned. If it does not end, takes the member from it, for which it waits.
  std::uint64_t left_by(Stop& stop) {
    if (stop.wait_for(ipcq_test::kBound) != std::future_status::ready) {
      ADD_FAILURE() << "the stop does not end";
      consumer_.close();
    }
    return stop.get();
  }
  void begin_anew() {
    producer_ = {};
    consumer_ = {};
    core_.reset();
    core_ = std::make_unique<BrokerCore>(options());
    session_ = connect({.broker = path_});
  }
  // The files of the broker: lock file, socket; record and segments in shared memory.
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& file : std::filesystem::directory_iterator(directory_.path())) {
      found.push_back(file.path().filename());
    }
    for (const auto& s : find_segments_of(BrokerPlace(path_, BrokerPlace::Use::look).tag())) found.push_back(s.name);
    std::sort(found.begin(), found.end());
    return found;
  }
  // Has the next thread that reaches the crash point do `then` there.
  static void once_at(std::string step, std::function<void()> then) {
    static std::atomic<bool> awaited;
    static std::pair<std::string, std::function<void()>> plan;
    plan = {std::move(step), std::move(then)};
    awaited = true;
    set_crash_point_hook([](const char* name) {
      if (plan.first == name && awaited.exchange(false)) plan.second();
    });
  }

  static constexpr std::uint64_t kUnread = 3;
  std::vector<std::string> log_;  // complete, and to be read, once the broker has stopped
  const ipcq_test::TemporaryDirectory directory_;
  const std::string path_ = directory_.at("s");
  std::unique_ptr<BrokerCore> core_ = std::make_unique<BrokerCore>(options());
  Session session_ = connect({.broker = path_});
  Producer producer_;
  Consumer consumer_;
};

}  // namespace ipcq::detail
