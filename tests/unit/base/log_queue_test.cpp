#include "base/log_queue.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "eventually.hpp"

namespace ipcq::detail {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

// What a callback was given, and a door that it stops at while it is shut. Outlives the queues of its test.
class Listener {
 public:
  LogCallback callback() {
    return [this](LogLevel, std::string_view text) {
      std::unique_lock lock(mutex_);
      lines_.emplace_back(text);
      ++inside_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return open_; });
      --inside_;
      changed_.notify_all();
    };
  }
  void set_open(bool open) {
    const std::scoped_lock lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }
  bool await_lines(std::size_t n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, ipcq_test::kBound, [&] { return lines_.size() >= n; });
  }
  bool await_nobody_inside() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, ipcq_test::kBound, [&] { return inside_ == 0; });
  }
  std::vector<std::string> lines() {
    const std::scoped_lock lock(mutex_);
    return lines_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> lines_;
  bool open_ = true;
  int inside_ = 0;
};

TEST(LogQueue, DeliversInOrderBeforeItEnds) {
  Listener listener;
  {
    LogQueue queue(listener.callback());
    for (const char* text : {"a", "b", "c"}) queue.add(LogLevel::info, text);
  }
  EXPECT_THAT(listener.lines(), ElementsAre("a", "b", "c"));
}

TEST(LogQueue, IsSilentWithoutACallback) {
  LogQueue queue({});
  queue.add(LogLevel::info, "a");
  queue.close();
}

TEST(LogQueue, CountsWhatDoesNotFitAndSaysSoInItsPlace) {
  Listener listener;
  listener.set_open(false);
  LogQueue queue(listener.callback());
  queue.add(LogLevel::info, "first");
  ASSERT_TRUE(listener.await_lines(1));
  for (std::size_t i = 0; i < LogQueue::kCapacity + 3; ++i) queue.add(LogLevel::info, std::to_string(i));
  listener.set_open(true);
  ASSERT_TRUE(listener.await_lines(LogQueue::kCapacity + 2));
  queue.add(LogLevel::info, "later");
  queue.close();
  const auto lines = listener.lines();
  ASSERT_EQ(lines.size(), LogQueue::kCapacity + 3);
  EXPECT_EQ(lines[LogQueue::kCapacity], std::to_string(LogQueue::kCapacity - 1));
  EXPECT_THAT(lines[LogQueue::kCapacity + 1], HasSubstr("3 lines were not logged"));
  EXPECT_EQ(lines.back(), "later");
}

TEST(LogQueue, DoesNotWaitForeverForACallbackAndBeginsNoOtherCall) {
  Listener listener;
  listener.set_open(false);
  {
    LogQueue queue(listener.callback());
    queue.add(LogLevel::info, "stuck");
    queue.add(LogLevel::info, "never told");
    ASSERT_TRUE(listener.await_lines(1));
  }
  listener.set_open(true);
  ASSERT_TRUE(listener.await_nobody_inside());
  EXPECT_THAT(listener.lines(), ElementsAre("stuck"));
}

TEST(LogQueue, SurvivesACallbackThatThrows) {
  std::atomic<int> calls{0};
  LogQueue queue([&](LogLevel, std::string_view) {
    ++calls;
    throw std::runtime_error("from a callback");
  });
  queue.add(LogLevel::info, "a");
  queue.add(LogLevel::info, "b");
  queue.close();
  EXPECT_EQ(calls, 2);
}

TEST(LogQueue, MayBeClosedByItsOwnCallback) {
  std::unique_ptr<LogQueue> queue;
  std::atomic<bool> added{false};
  std::atomic<bool> gone{false};
  queue = std::make_unique<LogQueue>([&](LogLevel, std::string_view) {
    ASSERT_TRUE(ipcq_test::eventually([&] { return added.load(); }));
    queue.reset();
    gone = true;
  });
  queue->add(LogLevel::info, "a");
  added = true;
  EXPECT_TRUE(ipcq_test::eventually([&] { return gone.load(); }));
}

}  // namespace
}  // namespace ipcq::detail
