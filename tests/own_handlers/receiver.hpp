// A thread that receives while a test goes on.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <utility>

#include "ipcq/ipcq.hpp"

namespace ipcq_test {

class Receiver {
 public:
  // Calls `each`, in that thread, with what it has received, and then releases it.
  explicit Receiver(
      ipcq::Consumer& from, std::function<void(const ipcq::Message&)> each = [](const ipcq::Message&) {})
      : from_(from), each_(std::move(each)), thread_([this] { receive(); }) {}
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;
  ~Receiver() {
    if (thread_.joinable()) finish(received_.load());
  }

  // Waits until it has got `sent` messages, however long the handler takes for each, or nothing comes for `patience`.
  void finish(int sent, std::chrono::seconds patience = std::chrono::seconds(20)) {
    patience_ = patience;
    sent_.store(sent);
    thread_.join();
    EXPECT_EQ(received_.load(), sent);
  }

 private:
  void receive() {
    for (int sent = -1; sent < 0 || received_.load() < sent; sent = sent_.load()) {
      const auto m = sent < 0 ? from_.receive(std::chrono::milliseconds(100)) : from_.receive(patience_);
      if (m) {
        each_(*m);
        ++received_;
      } else if (sent >= 0) {
        return;
      }
    }
  }

  ipcq::Consumer& from_;
  const std::function<void(const ipcq::Message&)> each_;
  std::chrono::seconds patience_{};
  std::atomic<int> sent_{-1};  // not told yet
  std::atomic<int> received_{0};
  std::thread thread_;
};

}  // namespace ipcq_test
