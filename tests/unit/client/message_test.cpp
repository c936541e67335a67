// The handles that users hold: what ends them, and what they say when they hold nothing.
#include "ipcq/message.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include "eventually.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;

class Handles : public testing::Test {
 protected:
  Handles() {
    broker_.create("q", {.slots = 2, .size = 4096, .lines = 4});
    session_ = connect({.broker = name_});
    producer_ = session_.producer("q");
    consumer_ = session_.consumer("q");
  }
  QueueStats stats() { return broker_.stats().queues.at(0); }
  Loan loan() { return std::move(*producer_.loan(kBound)); }
  Message receive() { return std::move(*consumer_.receive(kBound)); }
  Message send_and_receive() {
    EXPECT_EQ(loan().publish(100), Status::ok);
    return receive();
  }

  const std::string name_ = "handles-" + std::to_string(getpid());
  Broker broker_{{.name = name_}};
  Session session_;
  Producer producer_;
  Consumer consumer_;
};

TEST_F(Handles, ThatHoldNothingSayNotHeld) {
  Message message;
  EXPECT_FALSE(message);
  EXPECT_TRUE(message.bytes().empty());
  EXPECT_EQ(message.release(), Status::not_held);
  EXPECT_EQ(message.nack(), Status::not_held);
  Loan empty;
  EXPECT_TRUE(empty.bytes().empty());
  EXPECT_EQ(empty.publish(0), Status::not_held);
}

TEST_F(Handles, ALoanGoesBackUnlessItIsPublished) {
  {
    const Loan first = loan();
    EXPECT_EQ(first.bytes().size(), 4096u);
    EXPECT_EQ(stats().claimed, 1u);
  }
  EXPECT_EQ(stats().claimed, 0u);
  Loan second = loan();
  EXPECT_EQ(second.publish(5000), Status::too_large);
  EXPECT_EQ(second.publish(10), Status::ok);
  EXPECT_TRUE(second.bytes().empty());
  EXPECT_EQ(second.publish(10), Status::not_held);
  EXPECT_EQ(stats().published, 1u);
}

TEST_F(Handles, ALoanThatTakesAnotherGivesItsOwnBack) {
  Loan one = loan();
  Loan two = loan();
  EXPECT_EQ(stats().claimed, 2u);
  one = std::move(two);
  EXPECT_EQ(stats().claimed, 1u);
  EXPECT_EQ(two.publish(0), Status::not_held);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(one.publish(0), Status::ok);
}

TEST_F(Handles, AMessageIsReleasedAtItsEndOrBefore) {
  {
    const Message message = send_and_receive();
    EXPECT_EQ(message.bytes().size(), 100u);
    EXPECT_EQ(stats().reading, 1u);
  }
  EXPECT_EQ(stats().reading, 0u);
  Message message = send_and_receive();
  EXPECT_EQ(message.release(), Status::ok);
  EXPECT_FALSE(message);
  EXPECT_TRUE(message.bytes().empty());
  EXPECT_EQ(message.release(), Status::not_held);
  EXPECT_EQ(stats().empty, 2u);
}

TEST_F(Handles, AMessageThatIsGivenBackComesAgain) {
  Message message = send_and_receive();
  EXPECT_EQ(message.nack(), Status::ok);
  EXPECT_EQ(message.nack(), Status::not_held);
  message = receive();
  EXPECT_EQ(message.redeliveries(), 1u);
}

TEST_F(Handles, AnExceptionGivesAMessageBack) {
  try {
    const Message message = send_and_receive();
    throw std::runtime_error("while it is processed");
  } catch (const std::runtime_error&) {
  }
  EXPECT_EQ(receive().redeliveries(), 1u);
  // One that was received and ended while another exception is handled is released.
  struct AtTheEnd {
    std::function<void()> call;
    ~AtTheEnd() { call(); }
  };
  try {
    const AtTheEnd receives{[this] { (void)send_and_receive(); }};
    throw std::runtime_error("elsewhere");
  } catch (const std::runtime_error&) {
  }
  EXPECT_EQ(stats().reading, 0u);
  EXPECT_EQ(consumer_.receive(Duration::zero()).status(), Status::empty);
}

}  // namespace
}  // namespace ipcq_test
