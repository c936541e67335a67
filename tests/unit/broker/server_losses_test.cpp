// What becomes of a client that hangs up, breaks the protocol or ends, and of its endpoints. With the programs'
// processes: process/survival_test.cpp.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "broker/server_fixture.hpp"
#include "eventually.hpp"
#include "process/raw_client.hpp"
#include "unit/child.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;
using ipcq_test::eventually;
using ipcq_test::RawClient;

// Holds a forked child in wait() until the test calls open(), or ends.
class ServerGate {
 public:
  ServerGate() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    out_.reset(ends[0]);
    in_.reset(ends[1]);
  }
  void open() { in_.reset(); }
  void wait() {
    in_.reset();
    char byte = 0;
    (void)!::read(out_.get(), &byte, 1);
  }

 private:
  Fd out_;
  Fd in_;
};

class ServerLossesTest : public ServerTest {};

TEST_F(ServerLossesTest, OneThatBreaksTheProtocolKeepsItsEndpointsWhileItsProcessLives) {
  RawClient client(path());
  ASSERT_EQ(client.hello().refusal, Refusal::none);
  ASSERT_EQ(client.ask(request_for_q(Op::open_producer)).refusal, Refusal::none);
  ASSERT_TRUE(client.send({.magic = 7}));
  EXPECT_EQ(client.receive().serial, 0u);
  EXPECT_TRUE(client.ends());
  EXPECT_TRUE(becomes([&] { return has_suspect(); }));
  EXPECT_EQ(with_mutex([&] { return q_.producers; }), 1u);
  RawClient again(path());
  EXPECT_EQ(again.hello().refusal, Refusal::none) << "a new session of the same process";
}

TEST_F(ServerLossesTest, ALostConnectionKeepsItsEndpointsUntilItsProcessEnds) {
  Child child([&] {
    {
      RawClient idle(path());  // has no endpoint
      RawClient client(path());
      (void)idle.hello();
      (void)client.hello();
      (void)client.ask(request_for_q(Op::open_producer));
    }
    ::pause();
  });
  ASSERT_TRUE(becomes([&] { return clients() == 1 && has_suspect(); }));
  EXPECT_EQ(with_mutex([&] { return std::pair(q_.producers, deaths()); }), std::pair(1u, std::uint64_t{0}));
  ::kill(child.pid(), SIGKILL);
  EXPECT_TRUE(becomes([&] { return clients() == 0; }));
  EXPECT_EQ(with_mutex([&] { return std::pair(q_.producers, deaths()); }), std::pair(0u, std::uint64_t{1}));
}

TEST_F(ServerLossesTest, AProcessThatEndsGivesUpAllItsSessionsAtOnce) {
  Child child([&] {
    RawClient first(path());
    RawClient second(path());
    bool good = true;
    for (RawClient* each : {&first, &second}) good = each->hello().refusal == Refusal::none && good;
    good = first.ask(request_for_q(Op::open_producer)).refusal == Refusal::none && good;
    good = second.ask(request_for_q(Op::open_consumer)).refusal == Refusal::none && good;
    ::_exit(good ? 0 : 1);
  });
  EXPECT_EQ(child.exit_code(), 0);
  EXPECT_TRUE(becomes([&] { return clients() == 0; }));
  with_mutex([&] {
    EXPECT_EQ(q_.producers, 0u);
    EXPECT_EQ(q_.producers_lost, 1u);
    EXPECT_EQ(q_.groups[0].members, 0u);
    EXPECT_EQ(deaths(), 1u) << "one process, two sessions";
  });
  const std::string whose = "client pid " + std::to_string(child.pid());
  EXPECT_TRUE(eventually([&] { return log_.has(whose + ": ended without detaching\n"); }));
}

TEST_F(ServerLossesTest, AForkedChildThatKeepsTheConnectionKeepsNoEndpoint) {
  ServerGate over;
  Child child([&] {
    RawClient client(path());
    (void)client.hello();
    (void)client.ask(request_for_q(Op::open_producer));
    if (::fork() != 0) ::_exit(0);
    ::alarm(60);
    over.wait();
  });
  EXPECT_EQ(child.exit_code(), 0);
  EXPECT_TRUE(becomes([&] { return clients() == 0 && q_.producers == 0; }));
  EXPECT_TRUE(eventually([&] { return log_.has("a child that it forked lives on with its connection"); }));
}

// A round of events serves one request of a connection. If the process has ended meanwhile, the round serves all that
// it had sent before it takes the endpoints away.
TEST_F(ServerLossesTest, WhatAProcessAskedBeforeItsEndIsServed) {
  ServerGate gate;
  Child child([&] {
    RawClient client(path());
    (void)client.hello();
    std::uint32_t opened[4];
    for (std::uint32_t& each : opened) each = client.ask(request_for_q(Op::open_producer)).client;
    gate.wait();
    for (const std::uint32_t each : opened) (void)client.send(request_for_q(Op::close_endpoint, each));
    ::_exit(0);
  });
  ASSERT_TRUE(becomes([&] { return q_.producers == 4; }));
  {
    const Lock lock(parts_.context.mutex);
    gate.open();
    EXPECT_EQ(child.exit_code(), 0);
  }
  EXPECT_TRUE(becomes([&] { return clients() == 0; }));
  EXPECT_EQ(with_mutex([&] { return q_.producers_lost; }), 0u) << "all had been closed";
  EXPECT_NE(end_ticket(q_), kNoTicket);
  EXPECT_EQ(with_mutex([&] { return deaths(); }), 0u) << "and left nothing open";
}

TEST_F(ServerLossesTest, WhatAClientAskedBeforeItHungUpIsServed) {
  auto client = std::make_unique<RawClient>(path());
  ASSERT_EQ(client->hello().refusal, Refusal::none);
  {
    const Lock lock(parts_.context.mutex);
    for (const Op op : {Op::open_consumer, Op::stats, Op::end_of_stream}) {
      EXPECT_TRUE(client->send(request_for_q(op)));
    }
    client.reset();
  }
  EXPECT_TRUE(becomes([&] { return clients() == 0; }));
  EXPECT_NE(end_ticket(q_), kNoTicket);
  EXPECT_EQ(with_mutex([&] { return q_.groups[0].members; }), 0u) << "nobody heard of that endpoint";
}

TEST_F(ServerLossesTest, AnEndpointWhoseAnswerIsNotTakenIsClosedAgain) {
  RawClient client(path());
  ASSERT_EQ(client.hello().refusal, Refusal::none);
  with_mutex([&] {
    const Reply reply;
    while (send_message(last().socket.get(), &reply, sizeof reply)) {
    }
  });
  ASSERT_TRUE(client.send(request_for_q(Op::open_producer)));
  EXPECT_TRUE(becomes([&] { return clients() == 0; })) << "it is hung up on";
  with_mutex([&] {
    EXPECT_EQ(q_.producers, 0u);
    EXPECT_EQ(q_.producers_opened, 0u) << "as if it had never been open";
  });
}

}  // namespace
}  // namespace ipcq::detail
