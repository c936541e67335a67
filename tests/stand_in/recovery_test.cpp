// Runners that die at bad moments, with the stand-in: during the recovery from their predecessor's death.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "eventually.hpp"
#include "gpu/runners.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;
using namespace std::chrono_literals;

class Recovery : public testing::Test {
 protected:
  ~Recovery() override { ::unsetenv("IPCQ_STAND_IN_DELAY_MS"); }
  static QueueOptions on_device(const std::string& pool = {}) {
    return {.slots = 4, .slot_bytes = 4096, .pool = pool, .handler = "invert", .backend = "cuda"};
  }
  // From the next runner on.
  static void slow_down() { ::setenv("IPCQ_STAND_IN_DELAY_MS", "40", 1); }
  std::size_t queues() const { return broker_.stats().queues.size(); }
  void kill_runner() {
    ASSERT_TRUE(eventually([] { return runners().size() == 1; }));
    const auto deaths = broker_.stats().runner_deaths;
    ::kill(runners().front(), SIGKILL);
    ASSERT_TRUE(eventually([&] { return broker_.stats().runner_deaths > deaths; }));
  }
  void exchange(const std::string& queue, std::size_t bytes = 1000) {
    auto c = session_.consumer(queue, {.until = Until::forever, .wait_for = kBound});
    auto p = session_.producer(queue, {.wait_for = kBound});
    const std::string text(bytes, 'x');
    ASSERT_EQ(p.send(text.data(), text.size(), kBound), Status::ok) << queue;
    auto m = c.receive(kBound);
    ASSERT_TRUE(m) << queue << ": " << to_string(m.status());
    ASSERT_EQ(m->bytes().size(), bytes);
    for (const auto b : m->bytes()) ASSERT_EQ(b, static_cast<std::byte>(255 - 'x'));
  }

  const std::string name_ = "recovery-" + std::to_string(getpid());
  Broker broker_{BrokerOptions{.name = name_}};
  Session session_ = connect({.broker = name_});
};

TEST_F(Recovery, GoesOnWhateverDiesMeanwhile) {
  broker_.create_pool("p", {.slots = 8, .backend = "cuda"});
  broker_.create("own", on_device());
  const std::vector<std::string> sharing = {"a", "b", "c", "x", "y", "z"};
  for (const auto& name : sharing) broker_.create(name, on_device(name < "m" ? "p" : "own"));
  slow_down();
  kill_runner();
  ASSERT_TRUE(eventually([] { return runners().size() == 1; }));
  ::kill(runners().front(), SIGKILL);  // maybe before it is up, which counts as no death
  for (std::size_t back = 1; back < 7; ++back) {
    ASSERT_TRUE(eventually([&] { return queues() >= back; })) << back;
    kill_runner();
  }
  ::unsetenv("IPCQ_STAND_IN_DELAY_MS");
  EXPECT_TRUE(eventually([&] { return queues() == 7; })) << queues();
  exchange("own");
  for (const auto& name : sharing) exchange(name);
}

TEST_F(Recovery, AQueueWithoutSlotsComesBack) {
  QueueOptions o = on_device();
  o.slots = 0;
  broker_.create("q", o);
  exchange("q", 10);
  kill_runner();
  exchange("q", 10);
}

}  // namespace
}  // namespace ipcq_test
