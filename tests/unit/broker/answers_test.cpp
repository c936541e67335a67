#include "broker/answers.hpp"

#include <gmock/gmock.h>

#include <atomic>

#include "base/crash_point.hpp"
#include "broker/parts.hpp"
#include "control/stats_codec.hpp"
#include "eventually.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::eventually;
using testing::HasSubstr;

std::atomic<bool> hold{false};

class AnswersTest : public testing::Test {
 protected:
  ~AnswersTest() override {
    hold = false;
    {
      const Lock lock(parts_.context.mutex);
      parts_.context.quitting = true;
    }
    answers_.join();
    set_crash_point_hook(nullptr);
  }
  bool take(ConnectedClient& client, Op op, std::uint32_t serial = 1, const std::string& queue = "q") {
    Request r;
    r.op = op;
    r.serial = serial;
    set_text(r.name, sizeof r.name, queue);
    const Lock lock(parts_.context.mutex);
    return answers_.take(client, r);
  }
  std::size_t sent() {
    const Lock lock(parts_.context.mutex);
    return sent_.size();
  }
  // Answers wait between their two steps, with the mutex open.
  static void hold_scans() {
    hold = true;
    set_crash_point_hook([](const char* name) {
      while (std::string(name) == "stats.scan" && hold) std::this_thread::yield();
    });
  }

  struct Sent {
    std::uint64_t client;
    Reply reply;
    std::string text;
  };
  Parts parts_;
  std::vector<Sent> sent_;
  Answers answers_{parts_.context, parts_.registry, parts_.statistics, parts_.clients,
                   [this](ConnectedClient& client, Reply& reply, const Fd& attachment) {
                     sent_.push_back({client.number, reply, attachment ? read_memfd(attachment.get()) : ""});
                   }};
};

TEST_F(AnswersTest, StatisticsAndDumpsCarryTheirSerial) {
  parts_.create("q", Parts::small());
  ConnectedClient& a = parts_.connect();
  ConnectedClient& b = parts_.connect();
  ASSERT_TRUE(take(a, Op::stats, 3));
  ASSERT_TRUE(take(b, Op::dump, 5));
  ASSERT_TRUE(eventually([this] { return sent() == 2; }));
  for (const Sent& s : sent_) {
    EXPECT_EQ(s.reply.refusal, Refusal::none);
    EXPECT_EQ(s.reply.serial, s.client == a.number ? 3u : 5u);
    if (s.client == a.number) {
      EXPECT_EQ(decode_stats(s.text).queues.at(0).name, "q");
    } else {
      EXPECT_THAT(s.text, HasSubstr("queue q: 4 lines"));
    }
  }
}

TEST_F(AnswersTest, AClientHasOneQuestionAtATimeAndOthersAreNotHeldUp) {
  hold_scans();
  ConnectedClient& a = parts_.connect();
  ASSERT_TRUE(take(a, Op::stats));
  EXPECT_TRUE(a.asking);
  EXPECT_FALSE(take(a, Op::stats)) << "its first is not answered";
  {
    const Lock lock(parts_.context.mutex);  // open meanwhile
    EXPECT_EQ(sent_.size(), 0u);
  }
  hold = false;
  ASSERT_TRUE(eventually([this] { return sent() == 1; }));
  EXPECT_TRUE(eventually([&] { return take(a, Op::stats, 2); }));
}

TEST_F(AnswersTest, AClientThatHasGoneGetsNone) {
  hold_scans();
  ConnectedClient& a = parts_.connect();
  ConnectedClient& b = parts_.connect();
  ASSERT_TRUE(take(a, Op::stats));
  {
    const Lock lock(parts_.context.mutex);
    parts_.clients.remove(a);
  }
  hold = false;
  ASSERT_TRUE(take(b, Op::stats));
  ASSERT_TRUE(eventually([this] { return sent() == 1; }));
  EXPECT_EQ(sent_[0].client, b.number);
}

TEST_F(AnswersTest, ADumpOfNoQueueIsRefused) {
  ConnectedClient& a = parts_.connect();
  ASSERT_TRUE(take(a, Op::dump, 1, "nothing"));
  ASSERT_TRUE(eventually([this] { return sent() == 1; }));
  EXPECT_EQ(sent_[0].reply.refusal, Refusal::not_found);
  EXPECT_THAT(sent_[0].reply.text, HasSubstr("no such queue"));
}

TEST_F(AnswersTest, OtherRequestsAreNotItsOwn) { EXPECT_FALSE(take(parts_.connect(), Op::hello)); }

}  // namespace
}  // namespace ipcq::detail
