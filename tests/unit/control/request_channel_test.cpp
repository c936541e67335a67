// A session's requests in their order. What a broker answers late is in process/late_answer_test.cpp.
#include "control/request_channel.hpp"

#include <gmock/gmock.h>
#include <poll.h>

#include <functional>
#include <string>
#include <thread>

#include "errors.hpp"
#include "ipcq/error.hpp"
#include "unit/fake_broker.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::error_of;
using ipcq_test::FakeBroker;
using testing::HasSubstr;

class RequestChannelTest : public testing::Test {
 protected:
  RequestChannelTest() {
    std::uint64_t deadline = 0;
    channel_.begin(connect_to_broker(broker_.path(), 0, deadline));
    there_ = broker_.accept();
  }
  // Runs `call` while `serve` is the broker.
  static void serve_while(const std::function<void()>& serve, const std::function<void()>& call) {
    const std::jthread server(serve);
    call();
  }
  static Request close_of(std::uint32_t client) {
    Request r;
    r.op = Op::close_endpoint;
    r.client = client;
    return r;
  }
  Reply ask() { return channel_.ask({}, {}, refusal_); }
  bool is_awake() const {
    pollfd p{channel_.wake(), POLLIN, 0};
    return ::poll(&p, 1, 0) == 1;
  }

  FakeBroker broker_;
  RequestChannel channel_{"b"};
  Fd there_;
  std::string refusal_;  // of the last answer
};

TEST_F(RequestChannelTest, CountsItsRequestsFromTheHelloOn) {
  serve_while(
      [&] {
        for (const std::uint32_t serial : {2u, 3u, 4u}) {
          const Request r = FakeBroker::take(there_);
          EXPECT_EQ(r.serial, serial);
          Reply reply;
          reply.endpoint = 10 * serial;
          FakeBroker::answer(there_, reply, r.serial);
        }
      },
      [&] {
        EXPECT_EQ(ask().endpoint, 20u);
        EXPECT_EQ(ask().endpoint, 30u);
        channel_.tell(close_of(5));  // which is answered as well
      });
  EXPECT_FALSE(channel_.awaits_late_answers());
  EXPECT_FALSE(is_awake());
}

TEST_F(RequestChannelTest, ReturnsARefusal) {
  serve_while([&] { FakeBroker::answer(there_, refuse(Refusal::not_found, "no"), FakeBroker::take(there_).serial); },
              [&] { EXPECT_EQ(ask().refusal, Refusal::not_found); });
  EXPECT_EQ(refusal_, "no");
}

TEST_F(RequestChannelTest, ThrowsWhatTheBrokerSaysWhenItHangsUp) {
  serve_while(
      [&] {
        (void)FakeBroker::take(there_);
        FakeBroker::answer(there_, refuse(Refusal::permission, "not you"), 0);
        there_.reset();
      },
      [&] {
        EXPECT_EQ(error_of<PermissionError>([&] { (void)ask(); }), "not you");
        EXPECT_THAT(error_of<SystemError>([&] { (void)ask(); }), HasSubstr("closed the connection"));
        channel_.tell(close_of(5));  // says nothing
      });
}

// As after one that was given up: the endpoint that its answer brings has no owner.
TEST_F(RequestChannelTest, AnAnswerToAnEarlierRequestIsPassedOverAndItsEndpointClosed) {
  serve_while(
      [&] {
        const Request r = FakeBroker::take(there_);
        Reply late;
        late.client = 77;
        FakeBroker::answer(there_, late, r.serial - 1);
        FakeBroker::answer(there_, {}, r.serial);
      },
      [&] { EXPECT_EQ(ask().client, 0u); });
  const Request close = FakeBroker::take(there_);
  EXPECT_EQ(close.op, Op::close_endpoint);
  EXPECT_EQ(close.client, 77u);
  EXPECT_EQ(close.flags, std::uint32_t{kNeverUsed});
  EXPECT_EQ(close.serial, 3u);
  // Nobody waits for the answer to that, so that the poll thread must.
  EXPECT_TRUE(channel_.awaits_late_answers());
  EXPECT_TRUE(is_awake());
  channel_.take_late_answers();  // not there yet
  EXPECT_TRUE(channel_.awaits_late_answers());
  FakeBroker::answer(there_, {}, close.serial);
  channel_.take_late_answers();
  EXPECT_FALSE(channel_.awaits_late_answers());
}

TEST_F(RequestChannelTest, ARefusalThatComesLateOpenedNothing) {
  serve_while(
      [&] {
        const Request r = FakeBroker::take(there_);
        Reply late = refuse(Refusal::busy, "busy");
        late.client = 77;
        FakeBroker::answer(there_, late, r.serial - 1);
        FakeBroker::answer(there_, {}, r.serial);
      },
      [&] { (void)ask(); });
  EXPECT_FALSE(channel_.awaits_late_answers());
}

}  // namespace
}  // namespace ipcq::detail
