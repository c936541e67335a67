// What the control thread serves, to whom it listens no longer, and that it sleeps and ends. Clients that are lost:
// server_losses_test.cpp; with the programs' processes: process/hostile_client_test.cpp.
#include "broker/server.hpp"

#include <gmock/gmock.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "base/deadline.hpp"
#include "base/poll_until.hpp"
#include "broker/broker_core.hpp"
#include "broker/server_fixture.hpp"
#include "control/stats_codec.hpp"
#include "eventually.hpp"
#include "process/raw_client.hpp"
#include "sanitizer.hpp"
#include "unit/child.hpp"
#include "unit/descriptor_shortage.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;
using ipcq_test::eventually;
using ipcq_test::RawClient;
using testing::HasSubstr;
using namespace std::chrono_literals;

TEST_F(ServerTest, AnswersEachRequestWithItsSerial) {
  RawClient client(path());
  const Reply hello = client.hello();
  EXPECT_EQ(hello.refusal, Refusal::none);
  EXPECT_EQ(hello.serial, 1u);
  EXPECT_EQ(hello.broker_pid, ::getpid());
  EXPECT_TRUE(with_mutex([&] { return last().attached; }));
  const Reply opened = client.ask(request_for_q(Op::open_producer));
  EXPECT_EQ(opened.serial, 2u);
  EXPECT_NE(opened.client, 0u);
  EXPECT_EQ(with_mutex([&] { return q_.producers; }), 1u);
}

TEST_F(ServerTest, ARequestBeforeTheHelloIsRefusedAndTheHelloIsStillWelcome) {
  RawClient client(path());
  const Reply refused = client.ask(request_for_q(Op::open_producer));
  EXPECT_EQ(refused.refusal, Refusal::usage);
  EXPECT_THAT(refused.text, HasSubstr("said no hello"));
  EXPECT_EQ(client.hello().refusal, Refusal::none);
  EXPECT_EQ(client.ask(request_for_q(Op::open_producer)).refusal, Refusal::none);
}

TEST_F(ServerTest, WhatIsNoRequestEndsTheConnectionWithTheReason) {
  RawClient other(path());
  ASSERT_EQ(other.hello().refusal, Refusal::none);
  const auto told = [&](const void* message, std::size_t bytes, int fd = -1) {
    RawClient client(path());
    EXPECT_TRUE(send_message(client.socket(), message, bytes, fd));
    const Reply reply = client.receive();
    EXPECT_EQ(reply.refusal, Refusal::usage);
    EXPECT_EQ(reply.serial, 0u);
    EXPECT_TRUE(client.ends());
    return std::string(reply.text);
  };
  const Request request;
  const Request another_magic{.magic = 7};
  const Request another_abi{.abi = kAbiVersion + 1};
  const std::vector<char> large(sizeof request + 1);
  EXPECT_THAT(told("", 0), HasSubstr("sent 0 bytes that are no request"));
  EXPECT_THAT(told(&request, sizeof request - 1), HasSubstr("sent 159 bytes"));
  EXPECT_THAT(told(large.data(), large.size()), HasSubstr("sent 161 bytes"));
  EXPECT_THAT(told(&another_magic, sizeof request), HasSubstr("sent 160 bytes that are no request"));
  EXPECT_THAT(told(&another_abi, sizeof request), HasSubstr("has ABI " + std::to_string(kAbiVersion) + ", the client"));
  EXPECT_THAT(told(&request, sizeof request, other.socket()), HasSubstr("sent a descriptor with its request"));
  EXPECT_TRUE(becomes([&] { return clients() == 1; }));
  EXPECT_EQ(other.ask(request_for_q(Op::open_producer)).refusal, Refusal::none);
}

TEST_F(ServerTest, ByeIsAnsweredBeforeTheConnectionEnds) {
  RawClient client(path());
  ASSERT_EQ(client.hello().refusal, Refusal::none);
  ASSERT_EQ(client.ask(request_for_q(Op::open_producer)).refusal, Refusal::none);
  EXPECT_EQ(client.ask(request_for_q(Op::bye)).refusal, Refusal::none);
  EXPECT_TRUE(client.ends());
  EXPECT_TRUE(becomes([&] { return clients() == 0 && q_.producers == 0; }));
  EXPECT_EQ(with_mutex([&] { return deaths(); }), 0u);
}

TEST_F(ServerTest, AConnectionWithoutAHelloIsEndedInTime) {
  RawClient silent(path());
  ASSERT_TRUE(becomes([&] { return clients() == 1; }));
  with_mutex([&] { last().accepted_at_ns = now_ns() - kHelloWithinNs; });
  RawClient other(path());  // wakes the thread, which sleeps for five seconds
  ASSERT_EQ(other.hello().refusal, Refusal::none);
  const Reply told = silent.receive();
  EXPECT_EQ(told.refusal, Refusal::busy);
  EXPECT_THAT(told.text, HasSubstr("no hello within 5 s of connecting"));
  EXPECT_TRUE(silent.ends());
  EXPECT_TRUE(becomes([&] { return clients() == 1; }));
}

TEST_F(ServerTest, AQuestionNeedsNoHelloAndHoldsNothingUp) {
  const Fd socket = connect_socket(path());
  Request question = request_for_q(Op::stats);
  question.serial = 9;
  ASSERT_TRUE(send_message(socket.get(), &question, sizeof question));
  pollfd p{socket.get(), POLLIN, 0};
  ASSERT_EQ(poll_until(&p, 1, deadline_after(ipcq_test::kBound)), 1);
  Reply reply;
  Fd attachment;
  ASSERT_EQ(receive_message(socket.get(), &reply, sizeof reply, attachment), 1);
  EXPECT_EQ(reply.serial, 9u);
  EXPECT_EQ(decode_stats(read_memfd(attachment.get())).queues.at(0).name, "q");
}

TEST_F(ServerTest, AForkedChildAsksNothingOnAnInheritedSession) {
  RawClient client(path());
  ASSERT_EQ(client.hello().refusal, Refusal::none);
  Child child([&] { ::_exit(client.send(request_for_q(Op::stats)) ? 0 : 1); });
  EXPECT_EQ(child.exit_code(), 0);
  const Reply refused = client.receive();
  EXPECT_EQ(refused.refusal, Refusal::permission);
  EXPECT_THAT(refused.text, HasSubstr("connects anew"));
}

TEST_F(ServerTest, ClientsLeaveNoDescriptorBehind) {
  const auto open_descriptors = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  const auto round = [&](bool says_bye) {
    RawClient client(path());
    (void)client.hello();
    const std::uint32_t opened = client.ask(request_for_q(Op::open_consumer)).client;
    EXPECT_NE(opened, 0u);
    EXPECT_EQ(client.ask(request_for_q(Op::stats)).refusal, Refusal::none);
    (void)client.ask(request_for_q(Op::close_endpoint, opened));
    if (says_bye) (void)client.ask(request_for_q(Op::bye));
    RawClient sends(path());
    EXPECT_TRUE(sends.send({}, client.socket()));
    EXPECT_EQ(sends.receive().refusal, Refusal::usage);
  };
  round(true);
  ASSERT_TRUE(becomes([&] { return clients() == 0; }));
  const auto before = open_descriptors();
  for (int i = 0; i < 20; ++i) round(i % 2 == 0);
  EXPECT_TRUE(eventually([&] { return open_descriptors() <= before; }));
}

TEST_F(ServerTest, AConnectionThatFoundNoDescriptorIsTakenOnceThereAreSome) {
  if (ipcq_test::kChecksNeedDescriptors) GTEST_SKIP() << "the sanitizer's own checks need descriptors";
  Lock lock(parts_.context.mutex);
  RawClient client(path());
  ASSERT_TRUE(client.send({}));
  {
    ipcq_test::DescriptorShortage none;
    while (parts_.context.reserve.lend()) {
    }
    none.take_all();
    lock.unlock();
    EXPECT_TRUE(eventually([&] { return log_.has("clients wait"); }));
  }
  EXPECT_EQ(client.receive().refusal, Refusal::none);
}

// The control thread and those that it has started: how long they have run so far.
class ServerSleepTest : public ServerTest {
 protected:
  std::uint64_t cpu_ns() const {
    std::uint64_t sum = 0;
    for (const pid_t thread : threads_of_process()) {
      if (threads_before_.count(thread) != 0) continue;
      // The clock of a thread, as pthread_getcpuclockid() makes it.
      const auto clock = static_cast<clockid_t>((~static_cast<unsigned>(thread) << 3) | 6);
      timespec spent{};
      EXPECT_EQ(::clock_gettime(clock, &spent), 0);
      sum += static_cast<std::uint64_t>(spent.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(spent.tv_nsec);
    }
    return sum;
  }
};

TEST_F(ServerSleepTest, WithClientsThatDoNothingTheThreadSleeps) {
  RawClient half_open(path());
  RawClient attached(path());
  RawClient suspect(path());
  for (RawClient* each : {&attached, &suspect}) {
    ASSERT_EQ(each->hello().refusal, Refusal::none);
    ASSERT_EQ(each->ask(request_for_q(Op::open_producer)).refusal, Refusal::none);
  }
  ASSERT_TRUE(suspect.send({.magic = 7}));
  ASSERT_TRUE(becomes([&] { return clients() == 3 && has_suspect(); }));
  EXPECT_GT(cpu_ns(), 0u);
  EXPECT_TRUE(eventually([&] {
    const std::uint64_t before = cpu_ns();
    std::this_thread::sleep_for(200ms);
    return cpu_ns() == before;
  })) << "a timer, or an event that nobody takes, wakes it again and again";
}

TEST(ServerStop, EndsTheConnectionsOfAllClientsAndTheThread) {
  const ipcq_test::Watchdog watchdog(ipcq_test::kBound, [] { return std::string("stop() does not return"); });
  BrokerCore broker({.name = unique_name()});
  broker.administration().create_queue("q", Parts::small());
  RawClient half_open(broker.socket_path());
  RawClient attached(broker.socket_path());
  RawClient asks(broker.socket_path());
  ASSERT_EQ(attached.hello().refusal, Refusal::none);
  ASSERT_EQ(attached.ask(request_for_q(Op::open_consumer)).refusal, Refusal::none);
  ASSERT_EQ(asks.ask(request_for_q(Op::stats)).refusal, Refusal::none);
  const auto threads = threads_of_process().size();
  Deadline at_once = Deadline::none();
  EXPECT_EQ(broker.stop(at_once), 0u);
  for (RawClient* each : {&half_open, &attached, &asks}) EXPECT_TRUE(each->ends());
  EXPECT_FALSE(connect_socket(broker.socket_path()));
  EXPECT_TRUE(eventually([&] { return threads_of_process().size() <= threads - 2; })) << "its own, and that of answers";
}

}  // namespace
}  // namespace ipcq::detail
