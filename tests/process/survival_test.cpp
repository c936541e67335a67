// Processes that stop, vanish, exec or lose their broker.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>

#include "process/peers.hpp"

namespace ipcq_test {
namespace {

class StoppedClient : public ProcessTest {};

// Between taking a place and publishing, a stopped producer holds the order up. That cannot be helped; it is named.
TEST_F(StoppedClient, IsNamedAndNothingIsTakenFromIt) {
  Broker& broker = embed_broker();
  broker.create("q", {.slots = 8, .size = 256, .lines = 16});
  Peer& consumer = spawn_ready("consumer", {});
  Peer& victim = spawn_ready("producer", {"id=2", "count=20", "go=1"}, "publish.claimed:stop:5");
  Peer& other = spawn_ready("producer", {"id=1", "count=60", "go=1"});
  victim.go();
  bounded("the victim to stop", [&] { return victim.is_stopped(); });
  other.go();
  bounded("the ring behind it to fill", [&] { return stats().published >= 16; });
  std::this_thread::sleep_for(kMoment);

  const QueueStats s = stats();
  EXPECT_EQ(s.blocked_by_pid, victim.pid());
  EXPECT_EQ(s.tombstones, 0u);
  const auto e =
      std::find_if(s.endpoints.begin(), s.endpoints.end(), [&](const auto& ep) { return ep.pid == victim.pid(); });
  ASSERT_NE(e, s.endpoints.end());
  EXPECT_EQ(e->state, "stopped");
  EXPECT_EQ(broker.stats().deaths, 0u);
  const auto records = consumer.records();
  EXPECT_EQ(std::count_if(records.begin(), records.end(), [](const Record& r) { return r.event == Event::received; }),
            4);
  EXPECT_THAT(broker.dump("q"), testing::HasSubstr("pid " + std::to_string(victim.pid()) + " (stopped)"));

  victim.signal(SIGCONT);
  EXPECT_EQ(end_of(victim), "exit 0");
  EXPECT_EQ(end_of(other), "exit 0");
  EXPECT_EQ(end_of(consumer), "exit 0");
  const GroupCheck check = check_group({&consumer}, {{1, 60, 60}, {2, 20, 20}});
  EXPECT_EQ(check.inversions, 0u);
  EXPECT_EQ(stats().tombstones, 0u);
  EXPECT_EQ(stats().blocked_by_pid, 0);
  expect_nothing_left("q");
}

TEST_F(StoppedClient, OneThatHoldsALoanOrAMessageDelaysNobody) {
  Broker& broker = embed_broker();
  broker.create("q", {.slots = 4, .size = 256, .lines = 4});
  Peer& loaner = spawn("producer", {"id=2", "count=1", "bytes=200", "hold=1", "at_end=pause"});
  Peer& holder = spawn("consumer", {"count=1", "hold=1", "at_end=pause"});
  bounded("both to hold something", [&] { return loaner.has(Event::stopped) && holder.has(Event::received); });
  for (Peer* p : {&loaner, &holder}) {
    p->signal(SIGSTOP);
    bounded(p->what() + " to stop", [&] { return p->is_stopped(); });
  }
  EXPECT_EQ(stats().blocked_by_pid, 0);
  Peer& consumer = spawn_ready("consumer", {"count=50"});
  Peer& producer = spawn("producer", {"id=1", "count=50", "bytes=200"});
  EXPECT_EQ(end_of(producer), "exit 0");
  EXPECT_EQ(end_of(consumer), "exit 0");
  check_group({&consumer}, {{1, 50, 50}});
  EXPECT_EQ(stats().claimed, 1u);
  EXPECT_EQ(group_stats().held, 1u);
}

class DeadWaker : public ProcessTest {};

// Killed between ringing the bell and waking who sleeps on it: the repair wakes them instead.
TEST_F(DeadWaker, AConsumerStillHearsOfTheMessage) {
  embed_broker().create("q", {.slots = 2, .size = 256});
  Peer& consumer = spawn_ready("consumer", {"count=1"});
  std::this_thread::sleep_for(kMoment);  // until it sleeps
  Peer& victim = spawn("producer", {"id=1", "count=1"}, "ring.incremented:kill");
  EXPECT_EQ(end_of(victim), "signal 9");
  EXPECT_EQ(end_of(consumer, kPrompt), "exit 0");
}

TEST_F(DeadWaker, AProducerStillHearsOfTheFreeLine) {
  embed_broker().create("q", {.slots = 2, .size = 256, .lines = 4});
  Peer& producer = spawn_ready("producer", {"id=1", "count=5", "bytes=40"});
  bounded("the ring to fill", [&] { return stats().published == 4; });
  std::this_thread::sleep_for(kMoment);
  Peer& victim = spawn("consumer", {}, "ring.incremented:kill");
  EXPECT_EQ(end_of(victim), "signal 9");
  EXPECT_EQ(end_of(producer, kPrompt), "exit 0");
}

TEST_F(DeadWaker, AProducerStillHearsOfTheFreeSlot) {
  embed_broker().create("q", {.slots = 1, .size = 256});
  Peer& producer = spawn_ready("producer", {"id=1", "count=2", "bytes=200"});
  bounded("the pool to be used up", [&] { return stats().published == 1; });
  std::this_thread::sleep_for(kMoment);
  Peer& victim = spawn("consumer", {}, "ring.incremented:kill");
  EXPECT_EQ(end_of(victim), "signal 9");
  EXPECT_EQ(end_of(producer, kPrompt), "exit 0");
}

// A record batch is one message: who dies holds all of it.
class KilledAmongRecords : public ProcessTest {
 protected:
  KilledAmongRecords() { embed_broker().create("q", {.slots = 4, .size = 1024, .lines = 16, .batch = Batch::records}); }
  static std::vector<Record> received(const Peer& peer) {
    std::vector<Record> all = peer.records();
    std::erase_if(all, [](const Record& r) { return r.event != Event::received; });
    return all;
  }
};

TEST_F(KilledAmongRecords, AConsumerLeavesTheBatchToTheNext) {
  Peer& victim = spawn_ready("consumer", {"batch=3", "count=3", "hold=1", "at_end=pause"});
  EXPECT_EQ(end_of(spawn("producer", {"id=1", "count=10", "batch=10", "bytes=40"})), "exit 0");
  bounded("the victim to have three records", [&] { return received(victim).size() == 3; });
  victim.signal(SIGKILL);
  EXPECT_EQ(end_of(victim), "signal 9");
  Peer& consumer = spawn("consumer", {});
  EXPECT_EQ(end_of(consumer), "exit 0");
  const auto all = received(consumer);
  ASSERT_EQ(all.size(), 10u);
  for (std::uint64_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].sequence, i);
    EXPECT_EQ(all[i].redeliveries, 1u);
  }
  EXPECT_EQ(group_stats().redelivered, 1u);
  expect_nothing_left("q");
}

TEST_F(KilledAmongRecords, AProducerTakesAlongWhatItHasNotPublished) {
  // 40 records of 200 bytes, of which four fit a slot: killed with the third slot in its hands.
  Peer& victim = spawn("producer", {"id=1", "count=40", "batch=40", "bytes=200"}, "loan.taken:kill:3");
  EXPECT_EQ(end_of(victim), "signal 9");
  Peer& consumer = spawn_ready("consumer", {});
  EXPECT_EQ(end_of(spawn("producer", {"id=2", "count=10", "batch=10", "bytes=40"})), "exit 0");
  EXPECT_EQ(end_of(consumer), "exit 0");
  std::vector<std::uint64_t> of_victim;
  for (const Record& r : received(consumer)) {
    if (r.producer == 1) of_victim.push_back(r.sequence);
  }
  EXPECT_EQ(of_victim, (std::vector<std::uint64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(received(consumer).size(), 18u);
  expect_nothing_left("q");
}

class VanishedClient : public ProcessTest {};

TEST_F(VanishedClient, WhatItHeldGoesBackWhenItExitsWithoutClosing) {
  Broker& broker = embed_broker();
  broker.create("q", {.slots = 4, .size = 256});
  EXPECT_EQ(end_of(spawn("producer", {"id=1", "count=3", "bytes=200", "hold=1", "at_end=exit"})), "exit 0");
  bounded("the broker to notice", [&] { return broker.stats().deaths == 1 && stats().endpoints.empty(); });
  EXPECT_EQ(stats().claimed, 0u);
  Peer& holder = spawn("consumer", {"count=2", "batch=2", "hold=1", "at_end=exit"});
  EXPECT_EQ(end_of(holder), "exit 0");
  bounded("the broker to notice", [&] { return broker.stats().deaths == 2 && stats().endpoints.empty(); });
  EXPECT_EQ(group_stats().held, 2u);  // given back

  Peer& consumer = spawn_ready("consumer", {});
  bounded("all three", [&] { return group_stats().delivered == 3; });
  std::this_thread::sleep_for(kMoment);
  EXPECT_FALSE(consumer.ended()) << "the exit was taken for an end";
  broker.end_of_stream("q");
  EXPECT_EQ(end_of(consumer), "exit 0");
  check_group({&holder, &consumer}, {{1, 3, 3}});
  EXPECT_EQ(group_stats().redelivered, 2u);
  expect_nothing_left("q");
}

// exec closes the connection, the process lives on: no proof of death, so nothing is taken from it.
TEST_F(VanishedClient, OneThatCallsExecIsSuspectUntilItEnds) {
  Broker& broker = embed_broker();
  broker.create("q", {.slots = 4, .size = 256});
  Peer& other = spawn_ready("consumer", {"forever=1", "count=1"});
  auto session = connect({.broker = name_});
  auto producer = session.producer("q");
  Peer& suspect = spawn_ready("consumer", {"group=second", "count=1", "hold=1", "at_end=exec"});
  ASSERT_EQ(producer.send(stamped(1, 0, 200), kPeerBound), Status::ok);
  const auto state = [&]() -> std::string {
    for (const auto& e : stats().endpoints) {
      if (e.pid == suspect.pid()) return e.state;
    }
    return "gone";
  };
  bounded("the broker to suspect it", [&] { return state() == "suspect"; });
  EXPECT_EQ(end_of(other), "exit 0");
  std::this_thread::sleep_for(kMoment);
  EXPECT_EQ(state(), "suspect");
  EXPECT_EQ(broker.stats().deaths, 0u);
  EXPECT_EQ(stats().empty, 3u);  // the slot that it may still read
  suspect.signal(SIGKILL);
  bounded("the broker to notice its end", [&] { return state() == "gone" && stats().empty == 4; });
  EXPECT_EQ(broker.stats().deaths, 1u);
  producer.close();
  expect_nothing_left("q");
}

class BrokerDeath : public ProcessTest, public testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(, BrokerDeath, testing::Values("spin", "hybrid", "sleep"),
                         [](const auto& info_) { return std::string(info_.param); });

// Clients hear of it wherever they wait, and a successor can take the name at once.
TEST_P(BrokerDeath, IsToldToEveryWaiterAndASuccessorTakesOver) {
  const std::string wait = std::string("wait=") + GetParam();
  Peer& broker = spawn_broker({"slots=2", "lines=4"});
  Peer& consumer = spawn_ready("consumer", {wait, "queue=out", "timeout_ms=60000"});
  Peer& for_line = spawn_ready("producer", {wait, "count=5", "bytes=40", "timeout_ms=60000"});
  bounded("the ring to fill", [&] { return stats("q").published == 4; });
  Peer& loaner = spawn("producer", {wait, "queue=out", "hold=1", "at_end=pause", "timeout_ms=60000"});
  Peer& loaner2 = spawn("producer", {wait, "queue=out", "hold=1", "at_end=pause", "timeout_ms=60000"});
  bounded("the pool to be empty", [&] { return loaner.has(Event::stopped) && loaner2.has(Event::stopped); });
  Peer& for_slot = spawn_ready("producer", {wait, "count=1", "bytes=200", "queue=out", "timeout_ms=60000"});
  std::this_thread::sleep_for(kMoment);  // until all of them wait

  broker.signal(SIGKILL);
  EXPECT_EQ(end_of(broker), "signal 9");
  const std::string peer_dead = "exit " + std::to_string(100 + static_cast<int>(Status::peer_dead));
  EXPECT_EQ(end_of(consumer), peer_dead);
  EXPECT_EQ(end_of(for_line), peer_dead);
  EXPECT_EQ(end_of(for_slot), peer_dead);

  const auto leftovers = [&] {
    for (const auto& e : list_brokers()) {
      if (e.name == name_) return e;
    }
    return BrokerEntry{};
  };
  EXPECT_FALSE(leftovers().alive);
  EXPECT_EQ(leftovers().segments.size(), 3u);
  std::vector<std::string> logged;
  std::mutex logging;
  Broker& successor = embed_broker([&](LogLevel, std::string_view text) {
    const std::scoped_lock lock(logging);
    logged.emplace_back(text);
  });
  EXPECT_TRUE(bounded("what it removed", [&] {
    const std::scoped_lock lock(logging);
    return std::any_of(logged.begin(), logged.end(), [&](const std::string& line) {
      return line.find(name_) != std::string::npos && line.find("3 segments") != std::string::npos;
    });
  }));
  EXPECT_TRUE(leftovers().segments.empty());
  successor.create("q", {.slots = 2, .size = 256});
  EXPECT_EQ(end_of(spawn("producer", {"id=1", "count=2"})), "exit 0");
  Peer& reader = spawn("consumer", {});
  EXPECT_EQ(end_of(reader), "exit 0");
  check_group({&reader}, {{1, 2, 2}});
}

TEST_P(BrokerDeath, AStoppingBrokerClosesItsQueues) {
  const std::string wait = std::string("wait=") + GetParam();
  Peer& broker = spawn_broker({"slots=2", "lines=4", "handler=identity"});
  Peer& consumer = spawn_ready("consumer", {wait, "queue=out", "timeout_ms=60000"});
  Peer& producer = spawn_ready("producer", {wait, "count=5", "bytes=40", "timeout_ms=60000"});
  bounded("the ring to fill", [&] { return stats("q").published == 4; });
  broker.signal(SIGTERM);
  EXPECT_EQ(end_of(broker), "exit 0");
  const std::string closed = "exit " + std::to_string(100 + static_cast<int>(Status::closed));
  EXPECT_EQ(end_of(consumer), closed);
  EXPECT_EQ(end_of(producer), closed);
  for (const auto& e : list_brokers()) EXPECT_NE(e.name, name_);
}

class SecondBroker : public ProcessTest {};

TEST_F(SecondBroker, IsRefusedWhileTheFirstLives) {
  Peer& first = spawn_broker();
  const auto expect_refusal = [&] {
    try {
      const Broker second(BrokerOptions{.name = name_});
      ADD_FAILURE() << "two brokers of one name";
    } catch (const UsageError& e) {
      EXPECT_THAT(e.what(),
                  testing::AllOf(testing::HasSubstr(name_), testing::HasSubstr("pid " + std::to_string(first.pid()))));
    }
  };
  expect_refusal();
  first.signal(SIGSTOP);  // a stopped broker is alive
  bounded("the broker to stop", [&] { return first.is_stopped(); });
  expect_refusal();
  first.signal(SIGCONT);
  EXPECT_NO_THROW(EXPECT_EQ(fetch_stats(name_).pid, first.pid()));
  EXPECT_EQ(end_of(spawn("producer", {"id=1", "count=2"})), "exit 0");
}

}  // namespace
}  // namespace ipcq_test
