// A client's first words with a broker, and what a broker, or what passes for one, may answer.
#include "control/connection.hpp"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "errors.hpp"
#include "ipcq/error.hpp"
#include "unit/child.hpp"
#include "unit/fake_broker.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;
using ipcq_test::error_of;
using ipcq_test::FakeBroker;
using testing::AllOf;
using testing::HasSubstr;
using namespace std::chrono_literals;

class ConnectionTest : public testing::Test {
 protected:
  std::string path() const { return broker_.path(); }
  // Runs `serve` as the broker while `introduce` is called.
  Introduction introduce(Duration wait_for, const std::function<void()>& serve, Op op = Op::stats) {
    const std::jthread server(serve);
    Request r;
    r.op = op;
    Deadline appears_by(wait_for);
    return detail::introduce(path(), r, appears_by);
  }
  // A connection that the test has both ends of.
  Connection open() {
    std::uint64_t deadline = 0;
    Connection c = connect_to_broker(path(), 0, deadline);
    there_ = broker_.accept();
    return c;
  }
  std::uint64_t soon() const { return deadline_after(50ms); }

  FakeBroker broker_;
  Fd there_;
};

TEST_F(ConnectionTest, TheFirstRequestHasSerialOneAndBringsTheAnswerWithItsContent) {
  const Introduction made = introduce(Duration::zero(), [&] {
    const Fd c = broker_.accept();
    const Request r = FakeBroker::take(c);
    EXPECT_EQ(r.magic, kControlMagic);
    EXPECT_EQ(r.abi, kAbiVersion);
    EXPECT_EQ(r.op, Op::stats);
    Reply reply;
    reply.client = 17;
    FakeBroker::answer(c, reply, r.serial, make_memfd("content").get());
  });
  EXPECT_EQ(made.reply.serial, 1u);
  EXPECT_EQ(made.reply.client, 17u);
  EXPECT_EQ(read_memfd(made.attachment.get()), "content");
  EXPECT_FALSE(has_ended(made.connection.process));
}

TEST_F(ConnectionTest, IsMadeAgainWhileTheBrokerHasTooMany) {
  const Introduction made = introduce(Duration::zero(), [&] {
    for (int i = 0; i < 2; ++i) {
      const Fd turned_away = broker_.accept();
      FakeBroker::answer(turned_away, refuse(Refusal::busy, "too many"), 0);
    }
    const Fd c = broker_.accept();
    FakeBroker::answer(c, {}, FakeBroker::take(c).serial);
  });
  EXPECT_EQ(made.reply.refusal, Refusal::none);
}

TEST_F(ConnectionTest, IsMadeAgainWithTheSuccessorOfABrokerThatGoesWhileItIsAsked) {
  const Introduction made = introduce(Duration::zero(), [&] {
    for (int i = 0; i < 2; ++i) (void)broker_.accept();  // hangs up
    const Fd c = broker_.accept();
    FakeBroker::answer(c, {}, FakeBroker::take(c).serial);
  });
  EXPECT_EQ(made.reply.serial, 1u);
}

TEST_F(ConnectionTest, AskingABrokerThatGoesAndHasNoSuccessorIsAskingNone) {
  EXPECT_THAT(error_of<NotFoundError>([&] {
                (void)introduce(Duration::zero(), [&] {
                  const Fd c = broker_.accept();
                  broker_.stop_listening();
                });
              }),
              HasSubstr("none answers"));
}

// It may have been done.
TEST_F(ConnectionTest, WhatChangesAQueueIsNotAskedOfASuccessor) {
  for (const Op op : {Op::end_of_stream, Op::set_executor}) {
    EXPECT_THAT(error_of<SystemError>([&] {
                  (void)introduce(
                      ipcq_test::kBound, [&] { (void)broker_.accept(); }, op);
                }),
                HasSubstr("closed the connection"));
  }
}

TEST_F(ConnectionTest, OneThatHangsUpEachTimeIsToldApart) {
  EXPECT_THAT(error_of<SystemError>([&] {
                (void)introduce(ipcq_test::kBound, [&] {
                  for (Fd c = broker_.accept(); c; c = broker_.accept_within(2s)) c.reset();
                });
              }),
              HasSubstr("closed the connection"));
}

TEST_F(ConnectionTest, ARefusalIsReturnedAndNotRepeated) {
  const Introduction made = introduce(Duration::zero(), [&] {
    const Fd c = broker_.accept();
    FakeBroker::answer(c, refuse(Refusal::busy, "this queue"), FakeBroker::take(c).serial);
  });
  EXPECT_EQ(made.reply.refusal, Refusal::busy);
}

TEST_F(ConnectionTest, WaitsForABrokerThatIsToCome) {
  broker_.stop_listening();
  ::unlink(path().c_str());
  const Introduction made = introduce(ipcq_test::kBound, [&] {
    std::this_thread::sleep_for(50ms);
    const Fd listener = listen_socket(path(), 0600, -1);
    pollfd p{listener.get(), POLLIN, 0};
    EXPECT_EQ(poll_until(&p, 1, deadline_after(ipcq_test::kBound)), 1);
    const Fd c(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    FakeBroker::answer(c, {}, FakeBroker::take(c).serial);
  });
  EXPECT_EQ(made.reply.refusal, Refusal::none);
}

TEST_F(ConnectionTest, ABacklogThatWasFullLeavesTheRequestItsTime) {
  broker_.stop_listening();
  ::unlink(path().c_str());
  const Fd listener = listen_socket(path(), 0600, -1);
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  std::vector<Fd> waiting;
  while (Fd one = connect_socket(path())) waiting.push_back(std::move(one));
  ASSERT_EQ(errno, EAGAIN);
  const std::jthread server([&] {
    std::this_thread::sleep_for(50ms);
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      const Fd taken(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    }
  });
  const std::uint64_t passed = now_ns();  // as if the backlog had been full for the ten seconds
  std::uint64_t deadline = passed;
  const Connection c = connect_to_broker(path(), deadline_after(ipcq_test::kBound), deadline);
  EXPECT_TRUE(c.socket);
  EXPECT_GT(deadline, passed);
}

TEST_F(ConnectionTest, AConnectionDoesNotBeginTheTimeAnewByItself) {
  std::uint64_t deadline = answer_deadline();
  const std::uint64_t before = deadline;
  (void)connect_to_broker(path(), deadline_after(ipcq_test::kBound), deadline);
  EXPECT_EQ(deadline, before) << "one that the broker turned away counts from its first connection";
}

TEST_F(ConnectionTest, WhereNobodyAnswersItIsSaidWhatLiesThere) {
  std::uint64_t deadline = 0;
  const auto not_found = [&](const std::string& broker) {
    return error_of<NotFoundError>([&] { (void)connect_to_broker(broker, 0, deadline); });
  };
  broker_.stop_listening();
  EXPECT_THAT(not_found(path()), AllOf(HasSubstr(path()), HasSubstr("none answers"), HasSubstr("start one")));
  ::unlink(path().c_str());
  EXPECT_THAT(not_found(path()), HasSubstr("start one"));
  EXPECT_THAT(not_found(broker_.at("none/s")), HasSubstr("its directory is not there"));
  std::ofstream(broker_.at("file")) << "x";
  EXPECT_THAT(not_found(broker_.at("file")), HasSubstr("no socket has that name"));
  EXPECT_EQ(deadline, 0u);
}

TEST_F(ConnectionTest, AnotherProgramsSocketIsToldApart) {
  const Fd other(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, broker_.at("other").c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(other.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  std::uint64_t deadline = 0;
  EXPECT_THAT(error_of<SystemError>([&] { (void)connect_to_broker(broker_.at("other"), 0, deadline); }),
              AllOf(HasSubstr("connect failed"), HasSubstr("another program's")));
}

TEST_F(ConnectionTest, AChildOfADeadBrokersIsNone) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  Fd kept(ends[1]);
  const Fd waits(ends[0]);
  const std::string at = broker_.at("dead");
  Child dead([&] {
    const Fd listener = listen_socket(at, 0600, -1);
    kept.reset();
    if (::fork() != 0) ::_exit(0);
    char byte = 0;
    ::alarm(60);
    (void)!::read(waits.get(), &byte, 1);  // with the listening socket, until the test is over
  });
  EXPECT_EQ(dead.exit_code(), 0);
  std::uint64_t deadline = 0;
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)connect_to_broker(at, 0, deadline); }), HasSubstr("none answers"));
}

TEST_F(ConnectionTest, AnAnswerThatIsNoneIsToldByWhatIsWrongWithIt) {
  const Connection c = open();
  Fd attachment;
  const auto error = [&] {
    return error_of<LayoutError>([&] { (void)receive_reply(c, "b", attachment, answer_deadline()); });
  };
  Reply reply;
  for (const std::size_t bytes : {std::size_t{1}, sizeof reply - 1}) {
    ASSERT_TRUE(send_message(there_.get(), &reply, bytes));
    EXPECT_THAT(error(), AllOf(HasSubstr("broker 'b'"), HasSubstr("another size"))) << bytes;
  }
  const std::string long_answer(sizeof reply + 1, 'x');
  ASSERT_TRUE(send_message(there_.get(), long_answer.data(), long_answer.size()));
  EXPECT_THAT(error(), HasSubstr("another size"));
  ASSERT_TRUE(send_message(there_.get(), long_answer.data(), sizeof reply));
  EXPECT_THAT(error(), HasSubstr("one release"));
  reply.abi = 7;
  ASSERT_TRUE(send_message(there_.get(), &reply, sizeof reply));
  EXPECT_THAT(error(), HasSubstr("speaks ABI 7, this library ABI 2"));
  reply = {};
  reply.magic = 1;
  ASSERT_TRUE(send_message(there_.get(), &reply, sizeof reply));
  EXPECT_THAT(error(), HasSubstr("one release"));
}

TEST_F(ConnectionTest, TheEndOfTheBrokerIsToldAfterWhatItSaid) {
  const Connection c = open();
  FakeBroker::answer(there_, refuse(Refusal::usage, "why"), 0);
  there_.reset();
  Fd attachment;
  const Reply last = receive_reply(c, "b", attachment, answer_deadline());
  EXPECT_EQ(get_text(last.text, sizeof last.text), "why");
  EXPECT_THAT(error_of<SystemError>([&] { (void)receive_reply(c, "b", attachment, answer_deadline()); }),
              HasSubstr("closed the connection"));
}

TEST_F(ConnectionTest, TheDeathOfTheBrokerIsSeenThoughItsSocketIsOpen) {
  Connection c = open();
  Child broker([] { ::pause(); });
  c.process = open_pidfd(broker.pid());
  ::kill(broker.pid(), SIGKILL);
  Fd attachment;
  EXPECT_THAT(error_of<SystemError>([&] { (void)receive_reply(c, "b", attachment, answer_deadline()); }),
              HasSubstr("closed the connection"));
}

TEST_F(ConnectionTest, NoAnswerInTimeIsSaidToBeThat) {
  const Connection c = open();
  Fd attachment;
  EXPECT_THAT(error_of<SystemError>([&] { (void)receive_reply(c, "b", attachment, soon()); }),
              AllOf(HasSubstr("no answer within 10 s"), HasSubstr("SIGSTOP")));
  Request r;
  while (send_message(c.socket.get(), &r, sizeof r)) {
  }
  EXPECT_THAT(error_of<SystemError>([&] { send_request(c, "b", r, soon()); }), HasSubstr("took no request"));
}

TEST_F(ConnectionTest, ARequestToABrokerThatHasGoneIsLeftToTheAnswer) {
  const Connection c = open();
  there_.reset();
  EXPECT_NO_THROW(send_request(c, "b", {}, answer_deadline()));
}

TEST_F(ConnectionTest, ContentThatFindsNoDescriptorIsAShortageOfThisProcess) {
  const Connection c = open();
  FakeBroker::answer(there_, {}, 1, make_memfd("content").get());
  Child child([&] {
    const rlimit full{3, 3};  // poll() wants room for its two entries, and the standard streams are open
    if (::setrlimit(RLIMIT_NOFILE, &full) != 0) ::_exit(1);
    Fd attachment;
    try {
      (void)receive_reply(c, "b", attachment, answer_deadline());
    } catch (const SystemError& e) {
      ::_exit(e.code() == EMFILE ? 0 : 2);
    }
  });
  EXPECT_EQ(child.exit_code(), 0);
}

TEST(Refusals, AreThrownAsTheErrorsThatTheyName) {
  const auto thrown = [](Refusal why) { return [why] { throw_refusal(refuse(why, "text")); }; };
  EXPECT_EQ(error_of<NotFoundError>(thrown(Refusal::not_found)), "text");
  EXPECT_EQ(error_of<PermissionError>(thrown(Refusal::permission)), "text");
  EXPECT_EQ(error_of<BackendError>(thrown(Refusal::backend)), "text");
  EXPECT_EQ(error_of<SystemError>(thrown(Refusal::shortage)), "text");
  EXPECT_EQ(error_of<UsageError>(thrown(Refusal::usage)), "text");
  EXPECT_EQ(error_of<UsageError>(thrown(Refusal::busy)), "text");
}

}  // namespace
}  // namespace ipcq::detail
