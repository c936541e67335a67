#include "program/attach.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <future>
#include <ipcq/broker.hpp>
#include <ipcq/error.hpp>
#include <string>
#include <thread>

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

}  // namespace
}  // namespace ipcq::program
