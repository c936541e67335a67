// Clients that send what nobody should, or nothing: the broker serves the others as if they were not there.
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "broker/admission.hpp"
#include "broker/closer.hpp"
#include "errors.hpp"
#include "process/peers.hpp"
#include "process/raw_client.hpp"

namespace ipcq_test {
namespace {

using detail::Refusal;
using detail::Request;
using testing::HasSubstr;

std::size_t open_descriptors() {
  const auto all = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

class HostileClient : public ProcessTest {
 protected:
  Watchdog watchdog_{50s, [] { return "the broker is held up"; }};
};

// The close of what they send takes a minute, for whoever closes it last. So the broker is stopped until nobody else
// has it.
TEST_F(HostileClient, ADescriptorWhoseCloseBlocksHoldsNobodyUp) {
  Peer& broker = spawn_broker();
  const auto session = connect({.broker = name_});
  const std::string path = detail::socket_path_of(name_);
  RawClient attached(path);
  ASSERT_EQ(attached.hello().refusal, Refusal::none);
  broker.signal(SIGSTOP);
  bounded("the broker to stop", [&] { return broker.is_stopped(); });
  Lingering with_hello, later, unread, empty;
  RawClient first(path), third(path), fourth(path);
  ASSERT_TRUE(first.send({}, with_hello.get()));
  ASSERT_TRUE(attached.send({}, later.get()));
  ASSERT_TRUE(third.send({.magic = 1}));  // hung up on before what comes next is read
  ASSERT_TRUE(third.send({}, unread.get()));
  ASSERT_TRUE(detail::send_message(fourth.socket(), "", 0, empty.get()));
  for (Lingering* each : {&with_hello, &later, &unread, &empty}) each->let_go();
  broker.signal(SIGCONT);

  const auto told = first.receive();
  EXPECT_EQ(told.refusal, Refusal::usage);
  EXPECT_THAT(told.text, HasSubstr("sent a descriptor"));
  EXPECT_TRUE(first.ends());
  for (RawClient* each : {&attached, &third, &fourth}) {
    EXPECT_EQ(each->receive().refusal, Refusal::usage);
    EXPECT_TRUE(each->ends());
  }
  EXPECT_NO_THROW((void)fetch_stats(name_));
  EXPECT_NO_THROW((void)connect({.broker = name_}));
  EXPECT_TRUE(session.connected());
  broker.signal(SIGTERM);
  EXPECT_EQ(end_of(broker), "exit 0");
}

TEST_F(HostileClient, WhatLiesInAConnectionThatNobodyTookHoldsNoStopUp) {
  const std::string path = directory_ + "/socket";
  Fd listener = detail::listen_socket(path, 0600, -1);
  Lingering lingering;
  std::vector<RawClient> clients;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(clients.emplace_back(path).send({}, i == 1 ? lingering.get() : -1));
  lingering.let_go();
  detail::Closer closer;
  closer.close_listener(std::move(listener));
  for (auto& c : clients) EXPECT_TRUE(c.ends());
  EXPECT_FALSE(detail::connect_socket(path));
}

TEST_F(HostileClient, WhoBreaksTheProtocolIsToldWhyAndHungUpOn) {
  embed_broker();
  const auto told = [&](const void* message, std::size_t bytes) {
    RawClient client(broker_->socket_path());
    EXPECT_TRUE(detail::send_message(client.socket(), message, bytes));
    const auto reply = client.receive();
    EXPECT_EQ(reply.serial, 0u);
    EXPECT_EQ(reply.refusal, Refusal::usage);
    EXPECT_TRUE(client.ends());
    return std::string(reply.text);
  };
  const Request another_abi{.abi = 77}, another_magic{.magic = 77};
  const std::vector<char> large(100'000);
  EXPECT_THAT(told(&another_abi, sizeof another_abi), HasSubstr("the client has ABI 77"));
  EXPECT_THAT(told(&another_magic, sizeof another_magic), HasSubstr("no request"));
  EXPECT_THAT(told("abc", 3), HasSubstr("3 bytes"));
  EXPECT_THAT(told("", 0), HasSubstr("0 bytes"));
  EXPECT_THAT(told(large.data(), large.size()), HasSubstr("100000 bytes"));
}

TEST_F(HostileClient, WhoSaysNoHelloIsEnded) {
  embed_broker();
  RawClient silent(broker_->socket_path()), asks(broker_->socket_path()), attached(broker_->socket_path());
  ASSERT_EQ(attached.hello().refusal, Refusal::none);
  EXPECT_EQ(asks.ask({.op = detail::Op::stats}).refusal, Refusal::none);
  for (RawClient* each : {&silent, &asks}) {
    EXPECT_THAT(each->receive().text, HasSubstr("no hello within 5 s"));
    EXPECT_TRUE(each->ends());
  }
  EXPECT_EQ(attached.ask({.op = detail::Op::bye}).refusal, Refusal::none);
}

TEST_F(HostileClient, OnlyTheProcessThatConnectedSpeaksForItself) {
  embed_broker().create("q");
  // What a forked child is answered on the connection that it inherited.
  const auto by_child = [](RawClient& client, const Request& request) {
    const pid_t child = fork();
    if (child == 0) _exit(client.send(request) ? 0 : 1);
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    return client.receive();
  };
  RawClient silent(broker_->socket_path()), attached(broker_->socket_path());
  EXPECT_THAT(by_child(silent, {}).text, HasSubstr("vouches for itself only"));
  ASSERT_EQ(attached.hello().refusal, Refusal::none);
  Request open{.op = detail::Op::open_producer};
  detail::set_text(open.name, sizeof open.name, "q");
  const auto refused = by_child(attached, open);
  EXPECT_EQ(refused.refusal, Refusal::permission);
  EXPECT_THAT(refused.text, HasSubstr("connects anew"));
  EXPECT_EQ(attached.ask(open).refusal, Refusal::none);
}

TEST_F(HostileClient, SessionsThatHungUpWithoutEndpointsAreLetGo) {
  embed_broker().create("q");
  (void)connect({.broker = name_});
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 200; ++i) ASSERT_EQ(RawClient(broker_->socket_path()).hello().refusal, Refusal::none);
  bounded("the descriptors to come back", [&] { return open_descriptors() <= before; });
  EXPECT_NO_THROW((void)connect({.broker = name_}).producer("q"));
}

// Connects with another user's credentials.
class AnotherUser : public HostileClient {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
    ASSERT_EQ(chmod(directory_.c_str(), 0755), 0);
    broker_at_ = directory_ + "/socket";
    Peer& broker = peers_.emplace_back(
        "broker", std::vector<std::string>{"broker=" + broker_at_, "nofile=64", "log=" + directory_ + "/b.records"}, "",
        directory_ + "/b.records", directory_ + "/b.output");
    bounded("the broker to be ready", [&] { return broker.has(Event::ready) || broker.ended(); });
    ASSERT_EQ(chmod(broker_at_.c_str(), 0666), 0);
  }
  std::unique_ptr<RawClient> connect_as_nobody() const {
    const auto become = [](unsigned user) { return syscall(SYS_setresuid, -1, user, -1) == 0; };  // this thread alone
    EXPECT_TRUE(become(65534));
    auto client = std::make_unique<RawClient>(broker_at_);
    EXPECT_TRUE(become(0));
    return client;
  }
  void expect_the_owner_to_be_served() const {
    EXPECT_NO_THROW((void)fetch_stats(broker_at_));
    EXPECT_NO_THROW((void)connect({.broker = broker_at_}).producer("q"));
  }
  std::string broker_at_;
};

TEST_F(AnotherUser, CannotTakeTheOwnersDescriptorsWithoutAHello) {
  std::vector<std::unique_ptr<RawClient>> all;
  for (int i = 0; i < 80; ++i) all.push_back(connect_as_nobody());
  EXPECT_THAT(all.back()->receive().text, HasSubstr("user 65534 has 8 connections that have said no hello"));
  expect_the_owner_to_be_served();
}

TEST_F(AnotherUser, CannotTakeTheOwnersDescriptorsWithOne) {
  std::vector<std::unique_ptr<RawClient>> all;
  unsigned attached = 0;
  for (int i = 0; i < 40; ++i) {
    const auto& client = all.emplace_back(connect_as_nobody());
    (void)client->send({});
    const auto reply = client->receive();
    attached += reply.refusal == Refusal::none ? 1 : 0;
    if (reply.refusal != Refusal::none) {
      EXPECT_THAT(reply.text, HasSubstr("16 connections, all that"));
    }
  }
  EXPECT_EQ(attached, 16u);
  expect_the_owner_to_be_served();
}

TEST(Admission, IsByTheLimitOfOpenFiles) {
  using namespace detail;
  const Share small = share_of(64), usual = share_of(1024), huge = share_of(1u << 30);
  EXPECT_EQ(small.half_open, 8u);
  EXPECT_EQ(small.foreign, 32u);
  EXPECT_EQ(usual.half_open, 128u);
  EXPECT_EQ(huge.half_open, 256u);
  const uid_t other = geteuid() + 1;
  EXPECT_EQ(admit(other, {.half_open = 7, .foreign_connections = 15}, small), Admittance::yes);
  EXPECT_EQ(admit(other, {.half_open = 8}, small), Admittance::too_many_half_open);
  EXPECT_EQ(admit(other, {.foreign_connections = 16}, small), Admittance::too_many_foreign);
  EXPECT_EQ(admit(geteuid(), {.foreign_connections = 99}, small), Admittance::yes);
  EXPECT_EQ(admit(0, {.foreign_connections = 99}, small), Admittance::yes);
}

}  // namespace
}  // namespace ipcq_test
