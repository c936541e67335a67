// The fixture of the tests of time-outs (time_outs.hpp) of each backend.
#pragma once

#include <cstddef>
#include <functional>
#include <initializer_list>
#include <span>
#include <vector>

#include "conformance/backend.hpp"
#include "time_outs.hpp"

namespace ipcq_test {

inline constexpr std::size_t kSmall = 30;
inline constexpr std::size_t kLarge = 100;

class TimeOut : public BackendTest {
 protected:
  using Call = std::function<Status(Duration)>;
  // `at_once`: the status of a call without time. `after` undoes what a call has done, and may sleep.
  void expect(
      const char* call_name, Status at_once, const Call& call, const std::function<void()>& after = [] {}) {
    expect_time_outs(session_, at_once, {call_name, call, after});
  }
  // With the backpressure to reject no call waits, whatever time it has.
  static void expect_full_always(const char* call_name, const Call& call) {
    expect_at_once({call_name, call}, Status::full);
  }
  static BatchResult send_batch(Producer& p, std::initializer_list<std::size_t> sizes, Duration time) {
    std::vector<std::vector<std::byte>> bytes;
    for (const std::size_t size : sizes) bytes.push_back(stamped(1, 9, size));
    const std::vector<std::span<const std::byte>> batch(bytes.begin(), bytes.end());
    return p.send_many(batch, time);
  }
};

}  // namespace ipcq_test
