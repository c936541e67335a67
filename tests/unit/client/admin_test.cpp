// What a tool asks of a broker, and answers that are none. With real brokers: programs and process tests.
#include "ipcq/admin.hpp"

#include <gmock/gmock.h>

#include <functional>
#include <string>
#include <thread>

#include "control/stats_codec.hpp"
#include "errors.hpp"
#include "ipcq/error.hpp"
#include "unit/fake_broker.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::error_of;
using ipcq_test::FakeBroker;
using testing::HasSubstr;

class AdminTest : public testing::Test {
 protected:
  // The broker of the next connection: takes its request and answers so.
  Request answer(const Reply& reply, const Fd& content = {}) {
    const Fd c = gave_up_ ? Fd() : broker_.accept();
    gave_up_ = !c;
    EXPECT_TRUE(c) << "nobody asks";
    if (gave_up_) return {};
    const Request r = FakeBroker::take(c);
    FakeBroker::answer(c, reply, r.serial, content.get());
    return r;
  }
  static void serve_while(const std::function<void()>& serve, const std::function<void()>& call) {
    const std::jthread server(serve);
    call();
  }
  static Fd stats_of(const std::string& queue, const std::string& executor) {
    BrokerStats s;
    s.queues.resize(1);
    s.queues[0].name = queue;
    s.queues[0].executor = executor;
    return make_memfd(encode(s));
  }
  std::string path() const { return broker_.path(); }
  FakeBroker broker_;
  bool gave_up_ = false;  // what comes next would be waited for as long
};

TEST_F(AdminTest, StatisticsComeAsContent) {
  serve_while([&] { EXPECT_EQ(answer({}, stats_of("q", "host")).op, Op::stats); },
              [&] { EXPECT_EQ(fetch_stats(path()).queues.at(0).executor, "host"); });
}

TEST_F(AdminTest, AnAnswerWithoutContentOrWithAnotherIsNone) {
  serve_while(
      [&] { (void)answer({}); },
      [&] { EXPECT_THAT(error_of<LayoutError>([&] { (void)fetch_stats(path()); }), HasSubstr("without content")); });
  serve_while([&] { (void)answer({}, make_memfd("text")); },
              [&] { EXPECT_THAT(error_of<LayoutError>([&] { (void)fetch_stats(path()); }), HasSubstr("cut short")); });
}

TEST_F(AdminTest, ADumpIsAskedForByItsQueuesName) {
  serve_while(
      [&] {
        const Request r = answer({}, make_memfd("a dump\n"));
        EXPECT_EQ(r.op, Op::dump);
        EXPECT_EQ(get_text(r.name, sizeof r.name), "cam");
      },
      [&] { EXPECT_EQ(fetch_dump("cam", path()), "a dump\n"); });
}

TEST_F(AdminTest, ARefusalIsThrown) {
  serve_while([&] { EXPECT_EQ(answer(refuse(Refusal::not_found, "no 'cam'")).op, Op::end_of_stream); },
              [&] { EXPECT_EQ(error_of<NotFoundError>([&] { end_of_stream("cam", path()); }), "no 'cam'"); });
}

TEST_F(AdminTest, AnExecutorIsAskedForAgainWhileTheQueueIsFullAndWaitedFor) {
  serve_while(
      [&] {
        (void)answer(refuse(Refusal::busy, "full"));
        const Request r = answer({});
        EXPECT_EQ(r.op, Op::set_executor);
        EXPECT_EQ(r.executor, ExecutorKind::stream);
        (void)answer({}, stats_of("cam", "persistent"));
        (void)answer({}, stats_of("other", "stream"));
        EXPECT_EQ(answer({}, stats_of("cam", "stream")).op, Op::stats);
      },
      [&] { set_executor("cam", ExecutorKind::stream, path()); });
}

TEST_F(AdminTest, AnExecutorThatCannotBeIsNotAskedForAgain) {
  serve_while([&] { (void)answer(refuse(Refusal::usage, "no device queue")); },
              [&] {
                EXPECT_EQ(error_of<UsageError>([&] { set_executor("cam", ExecutorKind::stream, path()); }),
                          "no device queue");
              });
}

}  // namespace
}  // namespace ipcq::detail
