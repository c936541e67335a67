#include "program/stderr_sink.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include "eventually.hpp"

namespace ipcq::program {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Keeps the lines that it is given. Blocks while it is shut, as a pipe that nobody reads: on every line, or on those
// with a certain text.
class Pipe final : public spdlog::sinks::sink {
 public:
  void log(const spdlog::details::log_msg& message) override {
    std::unique_lock lock(mutex_);
    std::string line(message.payload.data(), message.payload.size());
    blocked_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_ && (stop_at_.empty() || line.find(stop_at_) == std::string::npos); });
    blocked_ = false;
    lines_.push_back(std::move(line));
    changed_.notify_all();
  }
  void flush() override {}
  void set_pattern(const std::string& /*pattern*/) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter> /*formatter*/) override {}

  void set_open(bool open) {
    const std::scoped_lock lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }
  void stop_at(const std::string& text) {
    const std::scoped_lock lock(mutex_);
    stop_at_ = text;
    changed_.notify_all();
  }
  bool is_blocked() {
    const std::scoped_lock lock(mutex_);
    return blocked_;
  }
  std::vector<std::string> lines() {
    const std::scoped_lock lock(mutex_);
    return lines_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  bool blocked_ = false;  // a line waits
  std::string stop_at_;
  std::vector<std::string> lines_;
};

class StderrSinkTest : public testing::Test {
 protected:
  std::shared_ptr<Pipe> pipe_ = std::make_shared<Pipe>();
  std::unique_ptr<spdlog::logger> logger_ =
      std::make_unique<spdlog::logger>("program", std::make_shared<StderrSink>(pipe_));
};

TEST_F(StderrSinkTest, ALineIsThereWhenTheCallReturns) {
  for (const char* text : {"a", "b", "c"}) {
    logger_->info(text);
    EXPECT_EQ(pipe_->lines().back(), text);
  }
}

TEST_F(StderrSinkTest, NobodyWaitsForAReaderThatDoesNotRead) {
  pipe_->set_open(false);
  for (std::size_t i = 0; i < StderrSink::kCapacity + 4; ++i) logger_->info(std::to_string(i));
  pipe_->set_open(true);
  ASSERT_TRUE(ipcq_test::eventually([&] { return pipe_->lines().size() == StderrSink::kCapacity + 2; }));
  logger_->info("later");
  const auto lines = pipe_->lines();
  EXPECT_EQ(lines[StderrSink::kCapacity], std::to_string(StderrSink::kCapacity));  // one was in the write
  EXPECT_THAT(lines[StderrSink::kCapacity + 1], HasSubstr("3 lines were not logged"));
  EXPECT_EQ(lines.back(), "later");
}

TEST_F(StderrSinkTest, TheEndDoesNotWaitForIt) {
  pipe_->set_open(false);
  logger_->info("stuck");
  logger_.reset();
  pipe_->set_open(true);
  EXPECT_TRUE(ipcq_test::eventually([&] { return pipe_->lines().size() == 1; }));
}

TEST_F(StderrSinkTest, TheEndDoesNotWaitForTheCountOfLinesEither) {
  constexpr std::size_t kWritten = StderrSink::kCapacity + 1;  // one of them was in the write
  pipe_->set_open(false);
  for (std::size_t i = 0; i < kWritten + 3; ++i) logger_->info(std::to_string(i));
  pipe_->stop_at("not logged");
  pipe_->set_open(true);
  ASSERT_TRUE(ipcq_test::eventually([&] { return pipe_->lines().size() == kWritten && pipe_->is_blocked(); }));
  logger_.reset();
  EXPECT_EQ(pipe_->lines().size(), kWritten);
  pipe_->stop_at("");
  EXPECT_TRUE(ipcq_test::eventually([&] { return pipe_->lines().size() == kWritten + 1; }));
}

}  // namespace
}  // namespace ipcq::program
