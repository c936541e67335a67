// A session, and a broker that says what the test wants. With real ones: conformance and process tests.
#include "client/session_core.hpp"

#include <gmock/gmock.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/error.hpp"
#include "unit/child.hpp"
#include "unit/fake_broker.hpp"
#include "unit/segments.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;
using ipcq_test::error_of;
using ipcq_test::eventually;
using ipcq_test::FakeBroker;
using testing::AllOf;
using testing::HasSubstr;
using namespace std::chrono_literals;

// Answers in a thread of its own until the session hangs up, and writes down what it was asked.
class ScriptedBroker {
 public:
  using Answer = std::function<Reply(const Request&)>;
  explicit ScriptedBroker(Answer answer) : thread_([this, answer = std::move(answer)] { serve(answer); }) {}
  ~ScriptedBroker() { thread_.join(); }
  ScriptedBroker(const ScriptedBroker&) = delete;
  ScriptedBroker& operator=(const ScriptedBroker&) = delete;

  std::string path() const { return broker_.path(); }
  std::vector<Request> asked() {
    const std::scoped_lock lock(mutex_);
    return asked_;
  }
  std::vector<Request> asked(Op op) {
    auto all = asked();
    std::erase_if(all, [&](const Request& r) { return r.op != op; });
    return all;
  }
  void hang_up() {
    const std::scoped_lock lock(mutex_);
    ::shutdown(connection_.get(), SHUT_RDWR);
  }

 private:
  void serve(const Answer& answer) {
    Fd accepted = broker_.accept();
    {
      const std::scoped_lock lock(mutex_);
      connection_ = std::move(accepted);
    }
    for (;;) {
      const Request r = FakeBroker::take(connection_);
      if (r.serial == 0) return;
      Reply reply = r.op == Op::hello || r.op == Op::bye || r.op == Op::close_endpoint ? Reply{} : answer(r);
      {
        const std::scoped_lock lock(mutex_);
        asked_.push_back(r);
      }
      reply.serial = r.serial;
      (void)send_message(connection_.get(), &reply, sizeof reply);
    }
  }

  FakeBroker broker_;
  std::mutex mutex_;
  Fd connection_;
  std::vector<Request> asked_;
  std::thread thread_;
};

class SessionCoreTest : public testing::Test {
 protected:
  // The answer that leads to this test's segments.
  Reply good() {
    Reply r;
    r.client = 31;
    r.endpoint = 2;
    r.group = 0;
    r.durable = 1;
    r.generation = s_.queue().config().segment.generation;
    set_text(r.queue_segment, sizeof r.queue_segment, s_.queue().segment().name());
    set_text(r.pool_segment, sizeof r.pool_segment, s_.pool_map().segment().name());
    return r;
  }
  void start(ScriptedBroker::Answer answer, LogCallback log = {}) {
    broker_ = std::make_unique<ScriptedBroker>(std::move(answer));
    core_ = std::make_unique<SessionCore>(ConnectOptions{.broker = broker_->path(), .log = std::move(log)});
  }
  static Request open(Op op = Op::open_producer) {
    Request r;
    r.op = op;
    set_text(r.name, sizeof r.name, "q");
    set_text(r.group, sizeof r.group, "g0");
    return r;
  }
  Attachment attach(const Request& request, Duration wait_for) {
    Deadline deadline(wait_for);
    return core_->attach(request, {}, deadline);
  }
  // Of an attach() whose answer was changed.
  template <class E>
  std::string error_with(const std::function<void(Reply&)>& edit) {
    core_.reset();
    broker_.reset();
    start([this, edit](const Request&) {
      Reply r = good();
      edit(r);
      return r;
    });
    return error_of<E>([&] { (void)attach(open(), Duration::zero()); });
  }

  Segments s_{Segments::small()};
  std::unique_ptr<ScriptedBroker> broker_;
  std::unique_ptr<SessionCore> core_;  // ends first: the broker waits for that
};

TEST_F(SessionCoreTest, SaysHelloFirstAndByeAtLast) {
  start([](const Request&) { return Reply{}; });
  EXPECT_TRUE(core_->connected());
  EXPECT_FALSE(core_->is_forked_child());
  core_.reset();
  const auto asked = broker_->asked();
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_EQ(asked[0].op, Op::hello);
  EXPECT_EQ(asked[1].op, Op::bye);
}

TEST_F(SessionCoreTest, AttachesToWhatTheBrokerNames) {
  start([this](const Request&) { return good(); });
  const Attachment a = attach(open(), Duration::zero());
  EXPECT_EQ(a.client, 31u);
  EXPECT_EQ(a.endpoint, 2u);
  EXPECT_FALSE(a.uses_cuda);
  EXPECT_EQ(a.queue->segment().name(), s_.queue().segment().name());
  EXPECT_EQ(a.pool->segment().name(), s_.pool_map().segment().name());
  core_->detach(a.client, kBrokenOff);
  ASSERT_TRUE(eventually([&] { return broker_->asked(Op::close_endpoint).size() == 1; }));
  EXPECT_EQ(broker_->asked(Op::close_endpoint)[0].client, 31u);
  EXPECT_EQ(broker_->asked(Op::close_endpoint)[0].flags, std::uint32_t{kBrokenOff});
}

TEST_F(SessionCoreTest, AnAnswerThatItsSegmentsContradictIsRefusedAndTheEndpointClosed) {
  const auto text = AllOf(HasSubstr("queue 'q'"), HasSubstr("contradict each other"));
  EXPECT_THAT(error_with<LayoutError>([](Reply& r) { r.generation += 1; }), text);
  EXPECT_THAT(error_with<LayoutError>([](Reply& r) { r.endpoint = 4; }), text);
  EXPECT_THAT(error_with<LayoutError>([](Reply& r) { r.group = kMaxGroups; }), text);
  Segments other(Segments::small());
  reinterpret_cast<PoolHeader*>(other.pool_map().segment().data())->segment.generation = 99;
  auto header = other.pool_map().config();
  header.segment.generation = 99;
  publish_header(other.pool_map().segment(), header);
  EXPECT_THAT(error_with<LayoutError>([&](Reply& r) {
                set_text(r.pool_segment, sizeof r.pool_segment, other.pool_map().segment().name());
              }),
              text);
  const auto closed = broker_->asked(Op::close_endpoint);
  ASSERT_EQ(closed.size(), 1u);
  EXPECT_EQ(closed[0].client, 31u);
  EXPECT_EQ(closed[0].flags, std::uint32_t{kNeverUsed});
}

TEST_F(SessionCoreTest, SegmentsThatAreElsewhereAreAskedForOnceMore) {
  const std::string text =
      error_with<NotFoundError>([](Reply& r) { set_text(r.queue_segment, sizeof r.queue_segment, "ipcq-none"); });
  EXPECT_THAT(text, AllOf(HasSubstr("ipcq-none"), HasSubstr("do not exist here"), HasSubstr("/dev/shm")));
  EXPECT_EQ(broker_->asked(Op::open_producer).size(), 2u);
  EXPECT_EQ(broker_->asked(Op::close_endpoint).size(), 2u);
}

TEST_F(SessionCoreTest, AQueueThatMayComeIsAskedForUntilItDoes) {
  int left = 3;
  start([&](const Request&) { return --left > 0 ? refuse(Refusal::not_found, "no such queue") : good(); });
  EXPECT_EQ(attach(open(), ipcq_test::kBound).client, 31u);
  EXPECT_EQ(broker_->asked(Op::open_producer).size(), 3u);
}

TEST_F(SessionCoreTest, ARefusalIsThrownAtOnceWithoutTimeToWait) {
  start([](const Request&) { return refuse(Refusal::not_found, "no such queue"); });
  EXPECT_EQ(error_of<NotFoundError>([&] { (void)attach(open(), Duration::zero()); }), "no such queue");
  EXPECT_EQ(broker_->asked(Op::open_producer).size(), 1u);
}

TEST_F(SessionCoreTest, WhatWaitingDoesNotMendIsNotWaitedFor) {
  start([](const Request&) { return refuse(Refusal::usage, "full"); });
  EXPECT_EQ(error_of<UsageError>([&] { (void)attach(open(), ipcq_test::kBound); }), "full");
  EXPECT_EQ(broker_->asked(Op::open_producer).size(), 1u);
}

TEST_F(SessionCoreTest, AnInterruptEndsTheWait) {
  start([](const Request&) { return refuse(Refusal::not_found, "no such queue"); });
  std::thread interrupts([&] {
    EXPECT_TRUE(eventually([&] { return broker_->asked(Op::open_producer).size() > 1; }));
    core_->interrupt();
  });
  EXPECT_EQ(error_of<NotFoundError>([&] { (void)attach(open(), ipcq_test::kBound); }), "no such queue");
  interrupts.join();
  core_->resume();
}

TEST_F(SessionCoreTest, AnEphemeralGroupIsLogged) {
  std::mutex mutex;
  std::string logged;
  start(
      [this](const Request&) {
        Reply r = good();
        r.durable = 0;
        return r;
      },
      [&](LogLevel, std::string_view text) {
        const std::scoped_lock lock(mutex);
        logged += text;
      });
  (void)attach(open(Op::open_consumer), Duration::zero());
  core_.reset();  // delivers the log
  EXPECT_THAT(logged, AllOf(HasSubstr("group 'g0' is not declared")));
}

TEST_F(SessionCoreTest, TheBrokersEndWakesItsSleepersAndIsTold) {
  start([this](const Request&) { return good(); });
  const Attachment a = attach(open(), Duration::zero());
  EXPECT_EQ(core_->interruption(*a.queue).check(), Status::ok);
  const auto rung = [&] { return s_.control().space.sequence.load(std::memory_order_relaxed); };
  const std::uint32_t before = rung();
  broker_->hang_up();
  EXPECT_TRUE(eventually([&] { return !core_->connected(); }));
  EXPECT_TRUE(eventually([&] { return rung() != before; }));
  EXPECT_EQ(core_->interruption(*a.queue).check(), Status::peer_dead);
  EXPECT_THAT(error_of<SystemError>([&] { (void)attach(open(), Duration::zero()); }),
              AllOf(HasSubstr(broker_->path()), HasSubstr("connect again to its successor")));
  core_->detach(a.client, 0);  // says nothing
}

TEST_F(SessionCoreTest, AnInterruptIsSeenUntilItIsTakenBack) {
  start([this](const Request&) { return good(); });
  const Attachment a = attach(open(), Duration::zero());
  core_->interrupt();
  EXPECT_EQ(core_->interruption(*a.queue).check(), Status::interrupted);
  core_->resume();
  EXPECT_EQ(core_->interruption(*a.queue).check(), Status::ok);
}

TEST_F(SessionCoreTest, IsOfNoUseInAForkedChild) {
  start([this](const Request&) { return good(); });
  Child child([&] {
    const std::string text = error_of<UsageError>([&] { (void)attach(open(), Duration::zero()); });
    core_->detach(31, 0);
    core_.reset();  // ends without its thread, and asks nobody
    ::_exit(text.find("used after fork") != std::string::npos ? 0 : 1);
  });
  EXPECT_EQ(child.exit_code(), 0);
  EXPECT_TRUE(core_->connected());
  EXPECT_NO_THROW((void)attach(open(), Duration::zero()));
  EXPECT_TRUE(broker_->asked(Op::bye).empty());
}

TEST_F(SessionCoreTest, WhatIsRetiredLivesAsLongAsTheSession) {
  start([](const Request&) { return Reply{}; });
  auto object = std::make_shared<int>(1);
  const std::weak_ptr<int> seen = object;
  core_->retire(std::move(object));
  EXPECT_FALSE(seen.expired());
  core_.reset();
  EXPECT_TRUE(seen.expired());
}

TEST(UnconnectedSession, SaysThatItIsNotConnected) {
  const Session session;
  EXPECT_FALSE(session.connected());
  EXPECT_THAT(error_of<UsageError>([&] { (void)Session().producer("q"); }), HasSubstr("is not connected"));
}

}  // namespace
}  // namespace ipcq::detail
