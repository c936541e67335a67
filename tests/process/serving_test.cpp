// What must not hold a broker up: a log that nobody reads, memory that takes its time, a look at every held entry.
#include <sys/wait.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "base/crash_point.hpp"
#include "process/peers.hpp"

namespace ipcq_test {
namespace {

// Stops each thread that comes to a step, and counts them.
class Gate {
 public:
  explicit Gate(const char* step) {
    step_ = step;
    count_ = 0;
    open_ = false;
    detail::set_crash_point_hook([](const char* name) {
      if (std::string_view(name) != step_.load()) return;
      ++count_;
      while (!open_) std::this_thread::sleep_for(1ms);
    });
  }
  ~Gate() {
    open_ = true;
    detail::set_crash_point_hook(nullptr);
  }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  void open() { open_ = true; }
  unsigned count() const { return count_; }

 private:
  static std::atomic<const char*> step_;
  static std::atomic<unsigned> count_;
  static std::atomic<bool> open_;
};
std::atomic<const char*> Gate::step_{""};
std::atomic<unsigned> Gate::count_{0};
std::atomic<bool> Gate::open_{true};

// A log callback that does not come back while it is shut. Shared with it: a call may outlast the test.
struct Reader {
  std::mutex mutex;
  std::condition_variable changed;
  bool reads = true;
  std::vector<std::string> lines;

  static LogCallback of(const std::shared_ptr<Reader>& reader) {
    return [reader](LogLevel, std::string_view text) {
      std::unique_lock lock(reader->mutex);
      reader->lines.emplace_back(text);
      reader->changed.notify_all();
      reader->changed.wait(lock, [&] { return reader->reads; });
    };
  }
  void set(bool on) {
    const std::scoped_lock lock(mutex);
    reads = on;
    changed.notify_all();
  }
  bool await_line(const std::string& part) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, kPeerBound, [&] {
      return std::any_of(lines.begin(), lines.end(),
                         [&](const auto& line) { return line.find(part) != std::string::npos; });
    });
  }
};

class Serving : public ProcessTest {
 protected:
  Session session() { return connect({.broker = name_, .wait_for = kPeerBound}); }
  // Attaches to `queue`, on a thread that the test does not wait for when the broker hangs.
  bool attaches(const std::string& queue, Duration bound = kPeerBound) {
    auto done = std::make_shared<std::promise<void>>();
    auto ready = done->get_future();
    std::thread([done, queue, name = name_] {
      auto s = connect({.broker = name});
      auto c = s.consumer(queue);
      done->set_value();
    }).detach();
    return ready.wait_for(bound) == std::future_status::ready;
  }
};

TEST_F(Serving, GoesOnWhenNobodyReadsTheLog) {
  auto reader = std::make_shared<Reader>();
  embed_broker(Reader::of(reader));
  broker_->create("q", {.slots = 4, .size = 200});
  reader->set(false);
  for (int i = 0; i < 3; ++i) {  // each death is worth some lines
    Peer& producer = spawn_ready("producer", {"id=1", "count=5", "bytes=200", "go=1"});
    producer.signal(SIGKILL);
    EXPECT_EQ(end_of(producer), "signal 9");
  }
  ASSERT_TRUE(reader->await_line("ended without detaching"));
  ASSERT_TRUE(attaches("q"));
  EXPECT_TRUE(bounded("three deaths repaired", [&] { return broker_->stats().deaths == 3; }));
  broker_->stop();  // does not wait for the reader, either
  reader->set(true);
}

TEST_F(Serving, ALogCallbackMayAskTheBroker) {
  std::atomic<std::uint64_t> deaths{0};
  std::atomic<Broker*> broker{nullptr};
  broker = &embed_broker([&](LogLevel, std::string_view) {
    if (Broker* const b = broker.load()) deaths = b->stats().deaths;
  });
  broker_->create("q");
  Peer& producer = spawn_ready("producer", {"id=1", "count=5", "go=1"});
  producer.signal(SIGKILL);
  EXPECT_EQ(end_of(producer), "signal 9");
  EXPECT_TRUE(bounded("the callback's answer", [&] { return deaths == 1; }));
  EXPECT_TRUE(attaches("q"));
  broker_->stop();
}

TEST_F(Serving, WhatIsLoggedIsDeliveredBeforeStopReturns) {
  auto reader = std::make_shared<Reader>();
  embed_broker(Reader::of(reader));
  broker_->create("q");
  auto s = session();
  auto p = s.producer("q");
  std::byte payload[4]{};
  ASSERT_EQ(p.send(std::span<const std::byte>(payload)), Status::ok);
  EXPECT_EQ(broker_->stop(), 1u);
  const std::scoped_lock lock(reader->mutex);
  EXPECT_THAT(reader->lines, testing::Contains(testing::HasSubstr("stopped with 1 messages left")));
}

TEST_F(Serving, GoesOnWhileMemoryIsReserved) {
  embed_broker();
  broker_->create("q");
  for (const char* step : {"create.pool_made", "create.queue_made"}) {
    Gate gate(step);
    auto created = std::async(std::launch::async, [&] { broker_->create("slow"); });
    ASSERT_TRUE(bounded("the creation", [&] { return gate.count() == 1; }));
    EXPECT_TRUE(attaches("q")) << step;
    Peer& producer = spawn_ready("producer", {"id=1", "count=5", "go=1"});
    producer.signal(SIGKILL);
    EXPECT_EQ(end_of(producer), "signal 9");
    EXPECT_EQ(broker_->stats().queues.size(), 1u);
    EXPECT_THROW(broker_->create("slow"), UsageError);
    EXPECT_THROW(broker_->create_pool("slow", {}), UsageError);
    gate.open();
    created.get();
    EXPECT_EQ(broker_->stats().queues.size(), 2u);
    broker_->stop();
    broker_.reset();
    embed_broker();
    broker_->create("q");
  }
}

// Its clients die meanwhile, are told, and ask for one of the same name.
TEST_F(Serving, GoesOnWhileAQueueIsRemoved) {
  embed_broker();
  broker_->create("q");
  for (const char* step : {"remove.taken", "remove.ended"}) {
    broker_->create("gone");
    Session session = connect({.broker = name_});
    Producer left = session.producer("gone");
    Peer& dies = spawn_ready("producer", {"queue=gone", "id=1", "count=5", "go=1"});
    Gate gate(step);
    auto removed = std::async(std::launch::async, [&] { return broker_->remove("gone", Removal::at_once); });
    ASSERT_TRUE(bounded("the removal", [&] { return gate.count() == 1; }));
    EXPECT_TRUE(attaches("q")) << step;
    dies.signal(SIGKILL);
    EXPECT_EQ(end_of(dies), "signal 9");
    EXPECT_EQ(left.send("text", kBound), Status::closed);
    EXPECT_THROW((void)session.producer("gone"), NotFoundError);
    EXPECT_THROW(broker_->create("gone"), UsageError);
    EXPECT_THROW(broker_->create_pool("gone", {}), UsageError);
    EXPECT_THROW(broker_->remove("gone"), NotFoundError);
    EXPECT_EQ(broker_->stats().queues.size(), 1u);
    gate.open();
    EXPECT_EQ(removed.get(), 0u);
    broker_->create("gone");
    EXPECT_TRUE(attaches("gone"));
    broker_->remove("gone", Removal::at_once);  // its client may not have left yet
  }
}

TEST_F(Serving, AStopWaitsForWhatIsBeingRemovedAndLeavesNoName) {
  embed_broker();
  broker_->create("q");
  Gate gate("remove.taken");
  auto removed = std::async(std::launch::async, [&] { return broker_->remove("q", Removal::at_once); });
  ASSERT_TRUE(bounded("the removal", [&] { return gate.count() == 1; }));
  auto stopped = std::async(std::launch::async, [&] { return broker_->stop(); });
  EXPECT_EQ(stopped.wait_for(kMoment), std::future_status::timeout);
  gate.open();
  EXPECT_EQ(removed.get(), 0u);
  EXPECT_EQ(stopped.get(), 0u);
  for (const auto& b : list_brokers()) EXPECT_NE(b.name, name_);
}

TEST_F(Serving, AStopWaitsForWhatIsBeingCreatedAndLeavesNoName) {
  embed_broker();
  Gate gate("create.pool_made");
  auto created = std::async(std::launch::async, [&] { broker_->create("slow"); });
  ASSERT_TRUE(bounded("the creation", [&] { return gate.count() == 1; }));
  auto stopped = std::async(std::launch::async, [&] { return broker_->stop(); });
  EXPECT_EQ(stopped.wait_for(kMoment), std::future_status::timeout);
  gate.open();
  EXPECT_EQ(stopped.get(), 0u);
  EXPECT_THROW(created.get(), UsageError);
  for (const auto& b : list_brokers()) EXPECT_NE(b.name, name_);
}

TEST_F(Serving, GoesOnWhileStatisticsAreCounted) {
  embed_broker();
  broker_->create("q");
  Gate gate("stats.scan");
  const auto ask = [&] { return fetch_stats(name_).queues.size(); };
  auto first = std::async(std::launch::async, ask);
  ASSERT_TRUE(bounded("the question", [&] { return gate.count() == 1; }));
  EXPECT_TRUE(attaches("q"));
  std::vector<std::future<std::size_t>> others;
  for (int i = 0; i < 5; ++i) others.push_back(std::async(std::launch::async, ask));
  std::this_thread::sleep_for(kMoment);
  gate.open();
  EXPECT_EQ(first.get(), 1u);
  for (auto& other : others) EXPECT_EQ(other.get(), 1u);
  EXPECT_NE(fetch_dump("q", name_), "");
}

// Held entries are looked at once for all that the statistics tell, and only where there can be any.
TEST_F(Serving, LooksAtHeldEntriesOnceAndWhereThereAreAny) {
  embed_broker();
  broker_->create("q", {.size = 100, .endpoints = 200, .held = 16});
  auto s = session();
  std::vector<Producer> producers;
  std::vector<Consumer> consumers;
  {
    Gate attaching("endpoint.block");
    attaching.open();
    for (int i = 0; i < 50; ++i) producers.push_back(s.producer("q"));
    for (int i = 0; i < 100; ++i) consumers.push_back(s.consumer("q"));
    EXPECT_EQ(attaching.count(), 0u);
  }
  std::byte payload[4]{};
  std::vector<Message> held;
  for (int i = 0; i < 30; ++i) {
    ASSERT_EQ(producers.front().send(std::span<const std::byte>(payload)), Status::ok);
    auto m = consumers[static_cast<std::size_t>(i % 3)].receive(kPeerBound);
    ASSERT_TRUE(m);
    held.push_back(std::move(*m));
  }
  Gate looking("stats.block");
  looking.open();
  const auto q = broker_->stats().queues.at(0);
  EXPECT_EQ(looking.count(), consumers.size());
  ASSERT_EQ(q.groups.size(), 1u);
  EXPECT_EQ(q.groups[0].held, 30u);
  EXPECT_EQ(q.groups[0].delivered, 0u);
  std::uint64_t sum = 0;
  for (const auto& e : q.endpoints) sum += e.role == "consumer" ? e.held : 0;
  EXPECT_EQ(sum, 30u);
}

// What a closed consumer gave back lies in its block until somebody takes it.
TEST_F(Serving, CountsWhatClosedConsumersLeftBehind) {
  embed_broker();
  broker_->create("q", {.slots = 4, .size = 200, .endpoints = 3, .held = 4});
  auto s = session();
  auto p = s.producer("q");
  std::byte payload[4]{};
  for (int i = 0; i < 3; ++i) ASSERT_EQ(p.send(std::span<const std::byte>(payload)), Status::ok);
  {
    auto c = s.consumer("q");
    std::vector<Message> held;
    for (int i = 0; i < 2; ++i) {
      auto m = c.receive(kPeerBound);
      ASSERT_TRUE(m);
      held.push_back(std::move(*m));
    }
    c.close();
  }
  EXPECT_EQ(group_stats().held, 2u);
  EXPECT_EQ(group_stats().waiting, 1u);
  auto second = s.producer("q");  // gets the block that has something in it
  auto c = s.consumer("q");
  for (int i = 0; i < 3; ++i) {
    auto m = c.receive(kPeerBound);
    ASSERT_TRUE(m) << i;
    EXPECT_EQ(m->redeliveries(), i < 2 ? 1u : 0u);
  }
  EXPECT_EQ(group_stats().held, 0u);
  EXPECT_EQ(group_stats().delivered, 3u);
}

TEST_F(Serving, AnswersForNineHundredConsumers) {
  embed_broker();
  broker_->create("q", {.endpoints = 1024, .held = 1024});
  auto s = session();
  std::vector<Consumer> consumers;
  for (int i = 0; i < 900; ++i) consumers.push_back(s.consumer("q"));
  const auto stats = fetch_stats(name_);
  ASSERT_EQ(stats.queues.size(), 1u);
  EXPECT_EQ(stats.queues[0].endpoints.size(), 900u);
  EXPECT_EQ(stats.queues[0].groups.at(0).members, 900u);
  broker_->stop();  // one end for all
}

}  // namespace
}  // namespace ipcq_test
