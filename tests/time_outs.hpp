// Makes one call with each kind of time-out, and checks status, duration and sleep. For the tests of all calls that
// wait, on the host and with a GPU.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "eventually.hpp"
#include "ipcq/session.hpp"
#include "ipcq/status.hpp"
#include "ipcq/wait.hpp"

namespace ipcq_test {

struct GivenTime {
  const char* name;
  ipcq::Duration time;
  bool any;  // whether the call is given time
};
inline constexpr ipcq::Duration kShortTime = std::chrono::milliseconds(20);
inline constexpr GivenTime kGivenTimes[] = {
    {"zero", ipcq::Duration::zero(), false},
    {"negative", ipcq::Duration(-1), false},
    {"the least", ipcq::Duration::min(), false},
    {"one nanosecond", ipcq::Duration(1), true},  // over before anything has been tried
    {"a moment", kShortTime, true}};

// A call that has to wait. `name` stands in messages; `after` follows each call, undoes what it has done, and may
// sleep.
struct WaitingCall {
  const char* name;
  std::function<ipcq::Status(ipcq::Duration)> make;
  std::function<void()> after = [] {};
};

inline long sleeps_of_this_thread() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw;
}

// The system may make the thread sleep now and then (swapping); a call that sleeps does so every time.
inline bool sleeps_each_time(const WaitingCall& call, ipcq::Duration time) {
  bool slept = true;
  for (int tries = 0; tries < 5 && slept; ++tries) {
    const long before = sleeps_of_this_thread();
    (void)call.make(time);
    slept = sleeps_of_this_thread() != before;
    call.after();
  }
  return slept;
}

// Makes the call for ever; ends the process if it is not over in bounds.
inline ipcq::Status make_for_ever(const WaitingCall& call) {
  const Watchdog watchdog(kBound, [&call] { return std::string(call.name) + ", given for ever, waits on\n"; });
  return call.make(ipcq::kForever);
}

// Expects that the call, given for ever, waits until `end` is called by another thread, and then says one of `said`.
inline void expect_ended_by(const WaitingCall& call, const std::function<void()>& end,
                            const testing::Matcher<ipcq::Status>& said) {
  SCOPED_TRACE(std::string(call.name) + ", given for ever");
  const auto start = std::chrono::steady_clock::now();
  std::thread other([&end] {
    std::this_thread::sleep_for(kShortTime);
    end();
  });
  EXPECT_THAT(make_for_ever(call), said);
  EXPECT_GE(std::chrono::steady_clock::now() - start, kShortTime);
  other.join();
}

// Expects the same status whatever time the call is given, and no wait for more.
inline void expect_at_once(const WaitingCall& call, const testing::Matcher<ipcq::Status>& said) {
  for (const GivenTime& given : kGivenTimes) {
    EXPECT_THAT(call.make(given.time), said) << call.name << ", given " << given.name;
    call.after();
  }
  EXPECT_THAT(make_for_ever(call), said) << call.name << ", given for ever";
  call.after();
}

// Expects of a call that has to wait: without time it says `at_once` and does not sleep; with time it says `timeout`,
// and not before; for ever it waits until `session` is interrupted; and then it says so, whatever time it is given.
inline void expect_time_outs(ipcq::Session& session, ipcq::Status at_once, const WaitingCall& call) {
  for (const GivenTime& given : kGivenTimes) {
    SCOPED_TRACE(std::string(call.name) + ", given " + given.name);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(call.make(given.time), given.any ? ipcq::Status::timeout : at_once);
    if (given.any) {
      EXPECT_GE(std::chrono::steady_clock::now() - start, given.time);
    }
    call.after();
    if (!given.any) {
      EXPECT_FALSE(sleeps_each_time(call, given.time));
    }
  }
  const auto interrupt = [&] { session.interrupt(); };
  expect_ended_by(call, interrupt, ipcq::Status::interrupted);
  session.resume();
  call.after();
  const auto make_interrupted = [&](ipcq::Duration time) {
    session.interrupt();
    const ipcq::Status said = call.make(time);
    session.resume();
    return said;
  };
  SCOPED_TRACE("interrupted");
  expect_at_once({call.name, make_interrupted, call.after}, ipcq::Status::interrupted);
}

}  // namespace ipcq_test
