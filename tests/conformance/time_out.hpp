// The fixture of the tests of time-outs: makes one call with each kind of time-out, and checks status, duration and
// sleep.
#pragma once

#include <sys/resource.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "conformance/backend.hpp"

namespace ipcq_test {

inline constexpr std::size_t kSmall = 30;
inline constexpr std::size_t kLarge = 100;

struct Given {
  const char* name;
  Duration time;
  bool any;  // whether the call is given time
};
inline constexpr Given kGiven[] = {{"zero", 0ns, false},
                                   {"negative", -1ns, false},
                                   {"the least", Duration::min(), false},
                                   {"one nanosecond", 1ns, true},  // over before anything has been tried
                                   {"a moment", kMoment, true}};

inline long sleeps_of_this_thread() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw;
}

class TimeOut : public BackendTest {
 protected:
  using Call = std::function<Status(Duration)>;
  // `at_once`: the status of a call without time. `after` undoes what a call has done, and may sleep.
  void expect(
      const char* call_name, Status at_once, const Call& call, const std::function<void()>& after = [] {}) {
    for (const Given& given : kGiven) {
      SCOPED_TRACE(std::string(call_name) + ", given " + given.name);
      EXPECT_EQ(call(given.time), given.any ? Status::timeout : at_once);
      after();
      if (given.any) continue;
      // The system may make the thread sleep now and then (swapping); a call that sleeps does so every time.
      bool slept = true;
      for (int tries = 0; tries < 5 && slept; ++tries) {
        const long before = sleeps_of_this_thread();
        (void)call(given.time);
        slept = sleeps_of_this_thread() != before;
        after();
      }
      EXPECT_FALSE(slept);
    }
    expect_for_ever(call_name, call);
    after();
  }
  // Expects that the call, given kForever, waits until it is interrupted.
  void expect_for_ever(const char* call_name, const Call& call) {
    SCOPED_TRACE(std::string(call_name) + ", given for ever");
    const auto start = std::chrono::steady_clock::now();
    std::thread interrupter([this] {
      std::this_thread::sleep_for(kMoment);
      session_.interrupt();
    });
    EXPECT_EQ(call(kForever), Status::interrupted);
    EXPECT_GE(std::chrono::steady_clock::now() - start, kMoment);
    interrupter.join();
    session_.resume();
  }
  // With the backpressure to reject no call waits, whatever time it has.
  static void expect_full_always(const char* call_name, const Call& call) {
    for (const Given& given : kGiven) {
      EXPECT_EQ(call(given.time), Status::full) << call_name << ", given " << given.name;
    }
    EXPECT_EQ(call(kForever), Status::full) << call_name << ", given for ever";
  }
  static BatchResult send_batch(Producer& p, std::initializer_list<std::size_t> sizes, Duration time) {
    std::vector<std::vector<std::byte>> bytes;
    for (const std::size_t size : sizes) bytes.push_back(stamped(1, 9, size));
    const std::vector<std::span<const std::byte>> batch(bytes.begin(), bytes.end());
    return p.send_many(batch, time);
  }
};

}  // namespace ipcq_test
