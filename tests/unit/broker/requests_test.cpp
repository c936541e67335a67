#include "broker/requests.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <string>

#include "base/memory_file.hpp"
#include "broker/parts.hpp"
#include "control/stats_codec.hpp"
#include "ipcq/error.hpp"
#include "layout/text_field.hpp"
#include "sanitizer.hpp"
#include "unit/descriptor_shortage.hpp"

namespace ipcq::detail {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class RequestsTest : public testing::Test {
 protected:
  static Request request(Op op, const std::string& queue = "q") {
    Request r;
    r.op = op;
    set_text(r.name, sizeof r.name, queue);
    set_text(r.group, sizeof r.group, std::string("default"));
    return r;
  }
  Reply ask(ConnectedClient& client, const Request& r, pid_t sender = ::getpid()) {
    attachment_.reset();
    const Lock lock(parts_.context.mutex);
    return requests_.answer(client, r, {}, sender, attachment_);
  }
  Reply ask(Op op, const std::string& queue = "q") { return ask(client_, request(op, queue)); }
  // Closes an endpoint of the client with these flags.
  Reply close(const Reply& opened, std::uint32_t flags) {
    Request r = request(Op::close_endpoint);
    r.client = opened.client;
    r.flags = flags;
    return ask(client_, r);
  }
  // A connection that has said no hello.
  ConnectedClient& half_open() {
    ConnectedClient& c = parts_.connect();
    c.attached = false;
    c.pidfd.reset();
    return c;
  }

  Parts parts_;
  QueueEntry& q_ = parts_.create("q", Parts::small());
  ConnectedClient& client_ = parts_.connect();
  Answers answers_{parts_.context, parts_.registry, parts_.statistics, parts_.clients,
                   [](ConnectedClient&, Reply&, const Fd&) {}};
  Requests requests_{parts_.context,  parts_.registry,       parts_.endpoints,
                     parts_.switches, parts_.administration, answers_};
  Fd attachment_;
};

TEST_F(RequestsTest, AHelloAttachesTheProcessThatConnectedOnce) {
  ConnectedClient& c = half_open();
  EXPECT_EQ(ask(c, request(Op::hello)).refusal, Refusal::none);
  EXPECT_TRUE(c.attached);
  EXPECT_TRUE(c.pidfd);
  const Reply again = ask(c, request(Op::hello));
  EXPECT_EQ(again.refusal, Refusal::usage);
  EXPECT_THAT(again.text, HasSubstr("said hello twice"));
}

TEST_F(RequestsTest, AProcessSaysHelloForItselfOnly) {
  ConnectedClient& c = half_open();
  const Reply r = ask(c, request(Op::hello), ::getpid() + 1);
  EXPECT_EQ(r.refusal, Refusal::permission);
  EXPECT_THAT(r.text, HasSubstr("process " + std::to_string(::getpid() + 1) + " said hello on its connection"));
  EXPECT_FALSE(c.attached);
}

TEST_F(RequestsTest, AProcessThatTheBrokerCannotSeeIsRefused) {
  ConnectedClient& c = half_open();
  EXPECT_EQ(ask(c, request(Op::hello), 0).refusal, Refusal::permission);
  c.pid = 0;
  const Reply r = ask(c, request(Op::hello), 0);
  EXPECT_EQ(r.refusal, Refusal::permission);
  EXPECT_THAT(r.text, HasSubstr("PID namespace"));
  EXPECT_FALSE(c.attached);
}

TEST_F(RequestsTest, AProcessThatCannotBeWatchedIsAShortage) {
  ConnectedClient& c = half_open();
  c.socket = Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Reply r = ask(c, request(Op::hello));
  EXPECT_EQ(r.refusal, Refusal::shortage);
  EXPECT_THAT(r.text, AllOf(HasSubstr(parts_.context.self()), HasSubstr("cannot watch client pid")));
  EXPECT_FALSE(c.attached);
}

TEST_F(RequestsTest, OnlyTheProcessThatConnectedUsesTheConnection) {
  for (const Op op : {Op::open_producer, Op::stats, Op::end_of_stream, Op::bye}) {
    const Reply r = ask(client_, request(op), ::getpid() + 1);
    EXPECT_EQ(r.refusal, Refusal::permission);
    EXPECT_THAT(r.text, HasSubstr("a forked child connects anew"));
  }
  EXPECT_EQ(q_.producers, 0u);
  EXPECT_FALSE(q_.end_asked);
}

TEST_F(RequestsTest, EndpointsOpenAndCloseAsTheFlagsSay) {
  ASSERT_EQ(ask(Op::open_consumer).refusal, Refusal::none);
  EXPECT_EQ(q_.groups[0].members, 1u);
  EXPECT_EQ(close(ask(Op::open_producer), kBrokenOff).refusal, Refusal::none);
  EXPECT_EQ(q_.producers_lost, 1u);
  (void)close(ask(Op::open_producer), kBrokenOff | kNeverUsed);
  EXPECT_EQ(q_.producers_opened, 1u) << "one that was never used has not broken off";
  EXPECT_EQ(end_ticket(q_), kNoTicket);
  (void)close(ask(Op::open_producer), 0);
  EXPECT_EQ(q_.producers_lost, 0u);
  EXPECT_EQ(end_ticket(q_), 0u);
}

TEST_F(RequestsTest, AByeClosesWhatTheSessionHasAndNoOthers) {
  ConnectedClient& other = parts_.connect();
  ASSERT_EQ(ask(Op::open_producer).refusal, Refusal::none);
  ASSERT_EQ(ask(Op::open_consumer).refusal, Refusal::none);
  ASSERT_EQ(ask(other, request(Op::open_producer)).refusal, Refusal::none);
  EXPECT_EQ(ask(Op::bye).refusal, Refusal::none);
  EXPECT_EQ(parts_.endpoints.open_of(client_), Endpoints::Open::none);
  EXPECT_EQ(parts_.endpoints.open_of(other), Endpoints::Open::some);
  EXPECT_EQ(q_.producers_opened, 1u) << "what was still open at a bye was never used";
}

TEST_F(RequestsTest, StatisticsAndDumpsAreAnsweredAtOnceInAMemfd) {
  EXPECT_EQ(ask(Op::stats).refusal, Refusal::none);
  ASSERT_TRUE(attachment_);
  EXPECT_EQ(decode_stats(read_memfd(attachment_.get())).queues.at(0).name, "q");
  EXPECT_EQ(ask(Op::dump).refusal, Refusal::none);
  ASSERT_TRUE(attachment_);
  EXPECT_THAT(read_memfd(attachment_.get()), HasSubstr("queue q: 4 lines"));
}

TEST_F(RequestsTest, ASecondQuestionWaitsForTheFirstAnswer) {
  client_.asking = true;
  EXPECT_EQ(ask(Op::stats).refusal, Refusal::busy);
  EXPECT_EQ(ask(Op::dump).refusal, Refusal::busy);
  EXPECT_FALSE(attachment_);
  EXPECT_EQ(ask(Op::open_producer).refusal, Refusal::none) << "other requests go on";
}

TEST_F(RequestsTest, TheReserveOfDescriptorsAnswersQuestionsOfTheOwnerOnly) {
  if (ipcq_test::kChecksNeedDescriptors) GTEST_SKIP() << "the sanitizer's own checks need descriptors";
  const std::size_t before = parts_.context.reserve.size();
  ASSERT_GT(before, 0u);
  ConnectedClient& foreign = parts_.connect();
  foreign.uid = ::geteuid() + 4711;
  const ipcq_test::DescriptorShortage none;
  EXPECT_EQ(ask(foreign, request(Op::stats)).refusal, Refusal::shortage);
  EXPECT_EQ(parts_.context.reserve.size(), before);
  EXPECT_EQ(ask(Op::stats).refusal, Refusal::none);
  EXPECT_TRUE(attachment_);
  EXPECT_EQ(parts_.context.reserve.size(), before - 1);
}

TEST_F(RequestsTest, AStreamEndsOnRequest) {
  EXPECT_EQ(ask(Op::end_of_stream).refusal, Refusal::none);
  EXPECT_EQ(end_ticket(q_), 0u);
}

TEST_F(RequestsTest, AQueueThatIsMissingIsNotFound) {
  for (const Op op : {Op::open_producer, Op::open_consumer, Op::dump, Op::end_of_stream, Op::set_executor}) {
    const Reply r = ask(op, "nothing");
    EXPECT_EQ(r.refusal, Refusal::not_found);
    EXPECT_THAT(r.text, HasSubstr("nothing"));
  }
}

TEST_F(RequestsTest, WhatIsAskedInVainIsToldAsMisuse) {
  Request r = request(Op::set_executor);
  r.executor = ExecutorKind::stream;
  EXPECT_EQ(ask(client_, r).refusal, Refusal::usage) << "the queue is on the host";
  const Reply unknown = ask(static_cast<Op>(99));
  EXPECT_EQ(unknown.refusal, Refusal::usage);
  EXPECT_THAT(unknown.text, HasSubstr("unknown request 99"));
}

TEST_F(RequestsTest, HandlersAndStateAreForTheBrokersUserAndRoot) {
  client_.uid = ::geteuid() + 1;
  Request upload = request(Op::open_upload);
  upload.flags = kForHandler;
  for (const Request& r : {request(Op::save_state), request(Op::open_upload), upload, request(Op::load_state),
                           request(Op::replace_handler)}) {
    const Reply refused = ask(client_, r);
    EXPECT_EQ(refused.refusal, Refusal::permission) << static_cast<int>(r.op);
    EXPECT_THAT(refused.text, AllOf(HasSubstr("queue 'q'"), HasSubstr("the broker's own user and root"),
                                    HasSubstr(std::to_string(client_.uid))));
    EXPECT_FALSE(attachment_);
    EXPECT_FALSE(client_.upload);
  }
}

TEST_F(RequestsTest, AnUploadNeedsWhatItIsFor) {
  Reply r = ask(Op::open_upload);
  EXPECT_EQ(r.refusal, Refusal::usage);
  EXPECT_THAT(r.text, HasSubstr("queue 'q': its handler has no state"));
  Request upload = request(Op::open_upload);
  upload.flags = kForHandler;
  r = ask(client_, upload);
  EXPECT_EQ(r.refusal, Refusal::usage);
  EXPECT_THAT(r.text, HasSubstr("queue 'q': it has no handler"));
  EXPECT_FALSE(attachment_);
  EXPECT_EQ(ask(Op::open_upload, "r").refusal, Refusal::not_found);
  for (const Op op : {Op::load_state, Op::replace_handler}) {
    r = ask(op);
    EXPECT_EQ(r.refusal, Refusal::usage);
    EXPECT_THAT(r.text, HasSubstr("has uploaded nothing"));
  }
  client_.asking = true;
  EXPECT_EQ(ask(Op::save_state).refusal, Refusal::busy);
}

TEST_F(RequestsTest, AnUploadForACreationIsAsLongAsItIsSaid) {
  client_.administrates = true;
  Request upload = request(Op::open_upload, "new");
  upload.flags = kForCreation;
  for (const std::uint32_t bytes : {0u, kMostUploadBytes + 1}) {
    upload.bytes = bytes;
    const Reply r = ask(client_, upload);
    EXPECT_EQ(r.refusal, Refusal::usage);
    EXPECT_THAT(r.text, HasSubstr("an upload of " + std::to_string(bytes) + " bytes"));
  }
  upload.bytes = 5;
  EXPECT_EQ(ask(client_, upload).refusal, Refusal::none);
  EXPECT_EQ(read_memfd(client_.upload.get()), std::string(5, '\0'));
}

TEST_F(RequestsTest, QueuesAreCreatedAndDrainedByAdministratorsAlone) {
  ASSERT_TRUE(send(q_, 9));
  client_.administrates = false;
  Request upload = request(Op::open_upload, "new");
  upload.flags = kForCreation;
  upload.bytes = 5;
  for (const Request& r : {upload, request(Op::drain), request(Op::create_queue), request(Op::remove_pool)}) {
    const Reply refused = ask(client_, r);
    EXPECT_EQ(refused.refusal, Refusal::permission);
    EXPECT_THAT(refused.text, HasSubstr("start the broker with one (admin_group, --admin-group)"));
  }
  EXPECT_FALSE(client_.upload);
  EXPECT_FALSE(q_.draining);
  client_.administrates = true;
  EXPECT_EQ(ask(Op::drain).messages, 1u);
  EXPECT_TRUE(q_.draining);
  EXPECT_EQ(ask(Op::drain).messages, 1u);
  EXPECT_EQ(ask(Op::drain, "r").refusal, Refusal::not_found);
}

TEST_F(RequestsTest, AnUploadIsAFileOfTheBrokersThatTheClientFills) {
  q_.state = first_state("queue 'q'", {.state_bytes = 100});
  EXPECT_EQ(ask(Op::open_upload).refusal, Refusal::none);
  ASSERT_TRUE(attachment_);
  ASSERT_TRUE(client_.upload);
  write_at_begin(attachment_.get(), "abc", "it");
  EXPECT_EQ(read_memfd(client_.upload.get()), "abc" + std::string(97, '\0'));
}

}  // namespace
}  // namespace ipcq::detail
