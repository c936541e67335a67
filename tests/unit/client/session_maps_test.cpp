// The queues and pools that a session has mapped, and when it lets go of them.
#include "client/session_maps.hpp"

#include <gmock/gmock.h>

#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/error.hpp"
#include "unit/segments.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::error_of;
using ipcq_test::eventually;
using testing::HasSubstr;

// A segment that its broker has not finished: a thread that opens it waits for it, for a second at most.
class UnfinishedSegment {
 public:
  explicit UnfinishedSegment(const Segment& segment) : segment_(&segment), before_(descriptors()) {
    set_version(kNotReady);
  }
  void finish() { set_version(kAbiVersion); }
  // Whether a thread waits for it, and so has a descriptor of it.
  bool is_being_opened() const { return descriptors() > before_; }

 private:
  void set_version(std::uint32_t version) {
    reinterpret_cast<SegmentHeader*>(segment_->data())->version.store(version, std::memory_order_release);
  }
  // Of the segment, in this process.
  std::size_t descriptors() const {
    std::size_t count = 0;
    for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code closed_meanwhile;
      count += std::filesystem::read_symlink(fd, closed_meanwhile).filename() == segment_->name() ? 1 : 0;
    }
    return count;
  }

  const Segment* segment_;
  std::size_t before_;
};

class SessionMapsTest : public testing::Test {
 protected:
  std::shared_ptr<QueueMap> queue() { return maps_.queue(s_.queue().segment().name()); }
  std::shared_ptr<PoolMap> pool() { return maps_.pool(s_.pool_map().segment().name()); }
  void end_queue() {
    s_.control().state.store(static_cast<std::uint64_t>(QueueState::closed), std::memory_order_relaxed);
  }
  // Whether `call` returns while another thread waits for a segment that it opens: the segment is finished only after
  // the call, and the open has failed by then if the call waits for it. More than one try, since the system may stop
  // this thread for so long.
  bool returns_during_an_open(const std::function<void()>& call) {
    for (int tries = 0; tries < 5; ++tries) {
      Segments other(Segments::small());
      UnfinishedSegment unfinished(other.queue().segment());
      auto opening =
          std::async(std::launch::async, [&] { return maps_.queue(other.queue().segment().name()) != nullptr; });
      EXPECT_TRUE(eventually([&] { return unfinished.is_being_opened(); }));
      call();
      unfinished.finish();
      try {
        return opening.get();
      } catch (const LayoutError&) {  // not ready in time
      }
    }
    return false;
  }
  // What lives as long as the maps keep it.
  std::weak_ptr<int> keep_with(const void* map) {
    auto object = std::make_shared<int>(1);
    maps_.keep_with(map, object);
    return object;
  }

  Segments s_{Segments::small()};
  SessionMaps maps_;
};

TEST_F(SessionMapsTest, OpenEachSegmentOnce) {
  const auto q = queue();
  EXPECT_EQ(queue(), q);
  EXPECT_NE(q->segment().data(), s_.queue().segment().data());
  EXPECT_EQ(q->config().segment.generation, s_.queue().config().segment.generation);
  EXPECT_EQ(pool(), pool());
  Segments other(Segments::small());
  EXPECT_NE(maps_.queue(other.queue().segment().name()), q);
}

TEST_F(SessionMapsTest, WhatIsNotThereIsNotFound) {
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)maps_.queue("ipcq-none"); }), HasSubstr("does not exist"));
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)maps_.pool("ipcq-none"); }), HasSubstr("does not exist"));
  EXPECT_NO_THROW((void)queue());
}

TEST_F(SessionMapsTest, AMapStaysWhileItsQueueLives) {
  const std::weak_ptr<QueueMap> q = queue();
  const std::weak_ptr<PoolMap> p = pool();
  maps_.attach(1, *q.lock(), *p.lock());
  maps_.detach(1);
  EXPECT_FALSE(q.expired());
  EXPECT_FALSE(p.expired());
}

TEST_F(SessionMapsTest, OfAQueueThatEndedGoesWithTheLastEndpoint) {
  const std::weak_ptr<QueueMap> q = queue();
  const std::weak_ptr<PoolMap> p = pool();
  maps_.attach(1, *q.lock(), *p.lock());
  maps_.attach(2, *q.lock(), *p.lock());
  const auto with_queue = keep_with(q.lock().get());
  const auto with_pool = keep_with(p.lock().get());
  end_queue();
  maps_.detach(1);
  EXPECT_FALSE(q.expired());
  EXPECT_FALSE(p.expired());
  maps_.detach(99);  // unknown
  EXPECT_FALSE(with_queue.expired());
  maps_.detach(2);
  EXPECT_TRUE(q.expired());
  EXPECT_TRUE(p.expired());
  EXPECT_TRUE(with_queue.expired());
  EXPECT_TRUE(with_pool.expired());
}

TEST_F(SessionMapsTest, OneThatNobodyUsesAnyMoreGoesWhenAnotherIsOpened) {
  const std::weak_ptr<QueueMap> q = queue();
  const std::weak_ptr<PoolMap> p = pool();
  end_queue();
  Segments other(Segments::small());
  (void)maps_.queue(other.queue().segment().name());
  EXPECT_TRUE(q.expired());
}

// Opened between attach() of the queue and of its pool, as a session does.
TEST_F(SessionMapsTest, APoolStaysForAnotherQueueThatIsMapped) {
  QueueOptions o = Segments::small();
  const auto second = QueueMap::create("ipcq-maps-test-" + std::to_string(::getpid()), "second", o,
                                       QueueMap::Executed::none, s_.pool_map().config(), 3, {});
  const auto q2 = maps_.queue(second->segment().name());
  const std::weak_ptr<QueueMap> q = queue();
  const std::weak_ptr<PoolMap> p = pool();
  maps_.attach(1, *q.lock(), *p.lock());
  end_queue();
  maps_.detach(1);
  EXPECT_TRUE(q.expired());
  EXPECT_FALSE(p.expired());
}

TEST_F(SessionMapsTest, WhatIsKeptIsKeptOnceAndDroppedAtTheEnd) {
  const auto q = queue();
  auto object = std::make_shared<int>(1);
  maps_.keep_with(q.get(), object);
  maps_.keep_with(q.get(), object);
  EXPECT_EQ(object.use_count(), 2);
  maps_.keep_with(&s_, object);  // no map of these
  EXPECT_EQ(object.use_count(), 2);
  maps_.drop_kept();
  EXPECT_EQ(object.use_count(), 1);
}

TEST_F(SessionMapsTest, RingEachBellOfTheirs) {
  (void)queue();
  (void)pool();
  const auto before = [](const Doorbell& bell) { return bell.sequence.load(std::memory_order_relaxed); };
  const std::uint32_t ready = before(s_.control().ready[0]);
  const std::uint32_t space = before(s_.control().space);
  const std::uint32_t free = before(s_.pool_map().control().free);
  maps_.ring_all();
  EXPECT_EQ(before(s_.control().ready[0]), ready + 1);
  EXPECT_EQ(before(s_.control().space), space + 1);
  EXPECT_EQ(before(s_.pool_map().control().free), free + 1);
}

// An open takes up to a second. Session::interrupt(), the broker's end and a close of another endpoint must not wait
// for it.
TEST_F(SessionMapsTest, OnlyThreadsThatOpenWaitForAnOpen) {
  const auto q = queue();
  const auto p = pool();
  EXPECT_TRUE(returns_during_an_open([&] { maps_.ring_all(); })) << "ring_all";
  EXPECT_TRUE(returns_during_an_open([&] { EXPECT_EQ(queue(), q); })) << "queue, mapped before";
  EXPECT_TRUE(returns_during_an_open([&] { EXPECT_EQ(pool(), p); })) << "pool, mapped before";
  EXPECT_TRUE(returns_during_an_open([&] { maps_.attach(1, *q, *p); })) << "attach";
  EXPECT_TRUE(returns_during_an_open([&] { (void)keep_with(q.get()); })) << "keep_with";
  EXPECT_TRUE(returns_during_an_open([&] { maps_.detach(1); })) << "detach";
  EXPECT_TRUE(returns_during_an_open([&] { maps_.drop_kept(); })) << "drop_kept";
}

TEST_F(SessionMapsTest, ThreadsThatWantTheSameSegmentAtOnceShareItsMap) {
  UnfinishedSegment unfinished(s_.queue().segment());
  auto first = std::async(std::launch::async, [&] { return queue(); });
  EXPECT_TRUE(eventually([&] { return unfinished.is_being_opened(); }));
  auto second = std::async(std::launch::async, [&] { return queue(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  unfinished.finish();
  EXPECT_EQ(first.get(), second.get());
}

}  // namespace
}  // namespace ipcq::detail
