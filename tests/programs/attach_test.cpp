#include "program/attach.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <future>
#include <ipcq/broker.hpp>
#include <ipcq/error.hpp>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace ipcq::program {
namespace {

using std::chrono::milliseconds;

// Also after its statistics were seen: a queue whose runner is lost goes, and comes back.
TEST(Attachment, AClientWaitsForAQueueThatIsNotThere) {
  const std::string name = "attach-" + std::to_string(getpid());
  Broker broker({.name = name});
  Attachment patient(name, std::chrono::seconds(20)), hasty(name, Duration::zero());
  EXPECT_THROW((void)hasty.client("q", {}), NotFoundError);
  auto created = std::async(std::launch::async, [&] {
    std::this_thread::sleep_for(milliseconds(200));
    QueueOptions options;
    options.calls = 4;
    broker.create("q", options);
  });
  Client client = patient.client("q", {});
  created.get();
  EXPECT_EQ(client.calls_under_way(), 0u);
}

TEST(Attachment, AQueueOfTheBrokersSuccessorIsWaitedFor) {
  const std::string name = "successor-" + std::to_string(getpid());
  std::optional<Broker> broker(std::in_place, BrokerOptions{.name = name});
  Attachment attachment(name, std::chrono::seconds(20));
  auto stats = std::async(std::launch::async, [&] { return attachment.stats("q"); });
  std::this_thread::sleep_for(milliseconds(100));
  broker.reset();
  std::this_thread::sleep_for(milliseconds(100));
  broker.emplace(BrokerOptions{.name = name});
  broker->create("q");
  EXPECT_EQ(stats.get().name, "q");
  EXPECT_TRUE(attachment.producer("q", {}).send("x") == Status::ok);
}

}  // namespace
}  // namespace ipcq::program
