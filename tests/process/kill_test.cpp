// A client is killed at every named step of the protocol, with survivors on both sides: nothing of the living is lost
// or doubled, what the dead one had half done is repaired, and no slot stays behind.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "process/peers.hpp"

namespace ipcq_test {
namespace {

// What the victim is. The survivors are of every other kind, and one of its own.
enum class Victim {
  producer,        // of single messages, short and long in turn
  slow_producer,   // its consumers sleep between messages
  blocked,         // a producer that mostly waits for room
  batch_producer,  // send_many of short messages
  loan_dropper,    // takes a loan and lets it go before each message
  overwriter,      // a producer to a queue that drops the oldest
  consumer,
  idle_consumer,   // it sleeps between messages
  batch_consumer,  // receive_many
  nacker,          // gives messages back
  forwarder,       // from one queue to another of the same pool
  downstream,      // a consumer of what was forwarded
};

struct KillCase {
  const char* step;
  Victim victim;
  int count;  // dies when it gets there for the count-th time
};

constexpr KillCase kCases[] = {
    {"publish.claimed", Victim::producer, 1},
    {"publish.claimed", Victim::producer, 10},
    {"publish.claimed", Victim::batch_producer, 2},
    {"publish.claimed", Victim::overwriter, 9},
    {"publish.claimed", Victim::forwarder, 2},
    {"publish.slot_marked", Victim::producer, 1},
    {"publish.slot_marked", Victim::producer, 5},
    {"publish.slot_marked", Victim::forwarder, 3},
    {"publish.tagged", Victim::producer, 1},
    {"publish.tagged", Victim::producer, 10},
    {"publish.tagged", Victim::batch_producer, 3},  // amid its batch
    {"publish.tagged", Victim::forwarder, 3},
    {"loan.bit_taken", Victim::producer, 4},
    {"loan.bit_taken", Victim::forwarder, 2},
    {"loan.taken", Victim::producer, 1},
    {"loan.taken", Victim::producer, 4},
    {"loan.taken", Victim::forwarder, 2},
    {"slot.freed", Victim::loan_dropper, 3},
    {"slot.freed", Victim::downstream, 2},
    {"ring.incremented", Victim::slow_producer, 1},
    {"ring.incremented", Victim::slow_producer, 4},
    {"ring.incremented", Victim::consumer, 2},
    {"ring.incremented", Victim::downstream, 2},
    {"wait.armed", Victim::blocked, 2},
    {"wait.armed", Victim::idle_consumer, 3},
    {"drop.claimed", Victim::overwriter, 1},
    {"drop.claimed", Victim::overwriter, 6},
    {"release.last", Victim::overwriter, 2},
    {"take.claimed", Victim::consumer, 1},
    {"take.claimed", Victim::consumer, 8},
    {"take.claimed", Victim::batch_consumer, 3},
    {"take.held", Victim::consumer, 1},
    {"take.held", Victim::consumer, 8},
    {"take.held", Victim::batch_consumer, 6},
    {"take.finished", Victim::consumer, 1},
    {"take.finished", Victim::consumer, 8},
    {"take.finished", Victim::batch_consumer, 6},
    {"release.started", Victim::consumer, 1},
    {"release.started", Victim::consumer, 4},
    {"release.started", Victim::downstream, 2},
    {"release.last", Victim::consumer, 1},
    {"release.last", Victim::consumer, 4},
    {"release.last", Victim::downstream, 1},  // of the alias: its parent is still marked
    {"release.last", Victim::downstream, 2},
    {"release.slot_done", Victim::consumer, 1},
    {"release.slot_done", Victim::consumer, 4},
    {"release.slot_done", Victim::downstream, 1},
    {"nack.orphaned", Victim::nacker, 1},
    {"nack.orphaned", Victim::nacker, 3},
    {"forward.alias_borrowed", Victim::forwarder, 1},
    {"forward.alias_borrowed", Victim::forwarder, 4},
    {"forward.published", Victim::forwarder, 1},
    {"forward.published", Victim::forwarder, 4},
};

std::string case_name(const testing::TestParamInfo<KillCase>& info_) {
  constexpr const char* kNames[] = {"Producer",      "SlowProducer", "BlockedProducer", "BatchProducer",
                                    "LoanDropper",   "Overwriter",   "Consumer",        "IdleConsumer",
                                    "BatchConsumer", "Nacker",       "Forwarder",       "Downstream"};
  std::string name = info_.param.step;
  std::replace(name.begin(), name.end(), '.', '_');
  return name + "_" + kNames[static_cast<int>(info_.param.victim)] + std::to_string(info_.param.count);
}

TEST(KillSteps, EveryStepOfTheSourcesIsTested) {
  std::set<std::string> tested, named;
  for (const auto& c : kCases) tested.insert(c.step);
  tested.insert("attach.answered");  // KilledWhileAttaching
  // Of the broker, not of a client: serving_test holds it up there, and counts.
  for (const char* step :
       {"create.pool_made", "create.queue_made", "create.committed", "endpoint.block", "stats.block", "stats.scan"}) {
    tested.insert(step);
  }
  const std::regex pattern("IPCQ_CRASH_POINT\\(\"([^\"]+)\"\\)");
  for (const auto& file : std::filesystem::recursive_directory_iterator(IPCQ_SOURCE_DIR)) {
    if (!file.is_regular_file()) continue;
    std::ifstream in(file.path());
    const std::string text(std::istreambuf_iterator<char>(in), {});
    for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it) named.insert((*it)[1]);
  }
  EXPECT_FALSE(named.empty());
  EXPECT_EQ(named, tested) << "kCases names other steps than " << IPCQ_SOURCE_DIR;
}

class KilledWhileAttaching : public ProcessTest {};

// The broker has given out an endpoint that nobody has mapped.
TEST_F(KilledWhileAttaching, LeavesNoEndpoint) {
  Broker& broker = embed_broker();
  broker.create("q", {.slots = 2, .size = 256});
  std::uint64_t deaths = 0;
  for (const char* const role : {"producer", "consumer"}) {
    EXPECT_EQ(end_of(spawn(role, {"id=1", "count=1"}, "attach.answered:kill")), "signal 9");
    ++deaths;
    bounded("the broker to notice the death", [&] { return broker.stats().deaths == deaths; });
  }
  EXPECT_TRUE(stats().endpoints.empty());
  Peer& consumer = spawn("consumer", {});
  EXPECT_EQ(end_of(spawn("producer", {"id=1", "count=5"})), "exit 0");
  EXPECT_EQ(end_of(consumer), "exit 0");
  check_group({&consumer}, {{1, 5, 5}});
  expect_nothing_left("q");
}

class KillTest : public ProcessTest, public testing::WithParamInterface<KillCase> {
 protected:
  static constexpr std::uint64_t kMessages = 60;
  static constexpr std::uint32_t kSlots = 5;

  std::string plan() const { return std::string(GetParam().step) + ":kill:" + std::to_string(GetParam().count); }

  void expect_killed(Peer& victim) {
    ASSERT_EQ(end_of(victim), "signal 9") << "did not get to " << plan();
    bounded("the broker to notice the death", [&] { return broker_->stats().deaths == 1; });
  }

  // Every slot and every alias of the pool can be found again: all of them are taken at once.
  void expect_all_usable(Session& session) {
    auto in = session.producer("q"), out = session.producer("out");
    auto from = session.consumer("q"), tap = session.consumer("q", {.group = "tap"}), to = session.consumer("out");
    std::vector<Message> held, tapped;
    const auto take = [](Consumer& c, std::vector<Message>& messages) {
      auto m = c.receive(kPeerBound);
      ASSERT_EQ(m.status(), Status::ok);
      messages.push_back(std::move(*m));
    };
    for (std::uint64_t i = 0; i < kSlots; ++i) {
      ASSERT_EQ(in.send(stamped(8, i, 200), Duration::zero()), Status::ok) << "slot " << i << " cannot be found";
      take(from, held);
      take(tap, tapped);
    }
    constexpr unsigned kAliasesOfASlot = 8;
    for (unsigned depth = 0; depth < kAliasesOfASlot; ++depth) {
      std::vector<Message> forwarded;
      for (std::uint64_t i = 0; i < kSlots; ++i) {
        ASSERT_EQ(out.forward(held[i], Duration::zero()), Status::ok)
            << "alias " << depth * kSlots + i << " cannot be found";
        take(to, forwarded);
      }
      held = std::move(forwarded);
    }
    EXPECT_EQ(out.forward(held[0], Duration::zero()), Status::full);  // these were all
  }

  // Without its replacement, the dead producer's stream has not ended.
  void expect_no_end(const std::vector<Peer*>& consumers, const std::string& queue) {
    bounded("the queue to drain", [&] {
      const QueueStats s = stats(queue);
      return std::all_of(s.groups.begin(), s.groups.end(), [](const auto& g) { return g.waiting + g.held == 0; });
    });
    std::this_thread::sleep_for(kMoment);
    for (Peer* c : consumers) EXPECT_FALSE(c->ended()) << c->what() << " took a death for an end";
  }
};
INSTANTIATE_TEST_SUITE_P(, KillTest, testing::ValuesIn(kCases), case_name);

TEST_P(KillTest, SurvivorsGoOn) {
  const KillCase& c = GetParam();
  const bool forwards = c.victim == Victim::forwarder || c.victim == Victim::downstream;
  const bool producer_dies = c.victim <= Victim::overwriter;
  const bool overwrites = c.victim == Victim::overwriter;

  Broker& broker = embed_broker();
  broker.create_pool("pool", {.slots = kSlots, .size = 256});
  QueueOptions options{.pool = "pool", .lines = 4, .groups = {{"default"}, {"tap"}}};
  if (overwrites) options.backpressure = Backpressure::drop_oldest;
  broker.create("q", options);
  broker.create("out", {.pool = "pool", .lines = 4});
  auto session = connect({.broker = name_});
  // Keeps the stream from ending while peers come and go.
  auto anchor = session.producer("q");
  auto anchor_out = session.producer("out");

  const std::string last = forwards ? "out" : "q";
  std::vector<Peer*> consumers;  // of the last queue's default group
  const auto add_consumer = [&](std::vector<std::string> more, const std::string& step = {}) -> Peer& {
    more.push_back("queue=" + last);
    Peer& p = spawn_ready("consumer", more, step);
    consumers.push_back(&p);
    return p;
  };
  Peer& tap = spawn_ready("consumer", {"group=tap"});

  const std::string size = forwards ? "bytes=200" : "bytes=0";
  // The survivors are slower where the victim must find something to do.
  Peer* victim = nullptr;
  Peer* survivor = nullptr;  // the producer of the victim's side, or the first one
  Peer* other = nullptr;
  std::vector<Peer*> forwarders;
  const std::string consumer_pause = c.victim == Victim::blocked || overwrites ? "delay_us=2000"
                                     : !producer_dies                          ? "delay_us=1000"
                                                                               : "delay_us=0";
  std::vector<std::string> producing = {size, "count=" + std::to_string(kMessages), "go=1"};
  if (c.victim == Victim::slow_producer || c.victim == Victim::idle_consumer) producing.push_back("delay_us=1500");

  if (producer_dies) {
    add_consumer({consumer_pause});
    add_consumer({consumer_pause});
    auto mine = producing;
    mine.push_back("id=2");
    if (c.victim == Victim::batch_producer) mine.insert(mine.end(), {"batch=6", "bytes=40"});
    if (c.victim == Victim::loan_dropper) mine.push_back("drop_loans=1");
    victim = &spawn_ready("producer", mine, plan());
  } else if (c.victim == Victim::forwarder) {
    add_consumer({});
    forwarders.push_back(&spawn_ready("forwarder", {"from=q", "to=out"}));
    victim = &spawn_ready("forwarder", {"from=q", "to=out"}, plan());
  } else {
    if (forwards) forwarders.push_back(&spawn_ready("forwarder", {"from=q", "to=out"}));
    add_consumer({consumer_pause});
    std::vector<std::string> mine;
    if (c.victim == Victim::batch_consumer) mine = {"batch=3"};
    if (c.victim == Victim::nacker) mine = {"nack_every=3"};
    // The other group releases most messages first: the victim frees the slots and lines, and producers sleep
    // meanwhile.
    const std::string_view step = c.step;
    if ((step == "release.last" || step == "ring.incremented") && c.victim == Victim::consumer) mine = {"delay_us=300"};
    victim = &add_consumer(mine, plan());
  }
  auto first = producing;
  first.push_back("id=1");
  survivor = &spawn_ready("producer", first);
  survivor->go();
  if (producer_dies) {
    victim->go();
  } else {
    auto second = producing;
    second.push_back("id=3");
    other = &spawn_ready("producer", second);
    other->go();
  }

  expect_killed(*victim);
  if (HasFatalFailure()) return;
  EXPECT_EQ(end_of(*survivor), "exit 0");
  if (other != nullptr) {
    EXPECT_EQ(end_of(*other), "exit 0");
  }

  std::vector<Expectation> sent = {{1, kMessages, kMessages}};
  if (other != nullptr) sent.push_back({3, kMessages, kMessages});
  std::vector<Peer*> alive;
  for (Peer* p : consumers) {
    if (p != victim) alive.push_back(p);
  }
  if (producer_dies) {
    std::uint64_t began = 0, done = 0;
    for (const Record& r : victim->records()) {
      if (r.event == Event::sending) began = r.sequence + 1;
      if (r.event == Event::sent) done = r.sequence + 1;
    }
    sent.push_back({2, done, began});
    anchor.close();
    alive.push_back(&tap);
    expect_no_end(alive, "q");
    auto replacement = session.producer("q");
    for (std::uint64_t i = 0; i < 3; ++i) ASSERT_EQ(replacement.send(stamped(9, i), kPeerBound), Status::ok);
    sent.push_back({9, 3, 3});
    replacement.close();
    alive.pop_back();
  } else {
    anchor.close();
    for (Peer* f : forwarders) EXPECT_EQ(end_of(*f), "exit 0");
    anchor_out.close();
    if (c.victim == Victim::forwarder) {
      expect_no_end(alive, "out");
      broker.end_of_stream("out");
    }
  }
  for (Peer* p : alive) EXPECT_EQ(end_of(*p), "exit 0");
  EXPECT_EQ(end_of(tap), "exit 0");
  anchor_out.close();

  // What everybody wrote down.
  const std::vector<const Peer*> readers(consumers.begin(), consumers.end());
  const GroupCheck at_consumers = check_group(readers, sent, overwrites);
  const GroupCheck at_tap = check_group({&tap}, sent, overwrites);
  EXPECT_EQ(at_tap.inversions, 0u);
  if (producer_dies) {
    EXPECT_EQ(at_consumers.inversions, 0u);
  } else if (!forwards) {
    // A message that the victim had taken and not received comes to a survivor late, and truly for the first time.
    EXPECT_LE(at_consumers.inversions, c.victim == Victim::batch_consumer ? 3u : 1u);
  }
  EXPECT_EQ(group_stats("default", last).delivered, at_consumers.distinct);
  EXPECT_EQ(group_stats("tap").delivered, at_tap.distinct);
  if (!overwrites) {
    EXPECT_EQ(at_consumers.distinct, at_tap.distinct);
    EXPECT_EQ(stats("q").published, at_tap.distinct);
  }
  expect_nothing_left("q");
  expect_nothing_left("out");
  expect_all_usable(session);
}

}  // namespace
}  // namespace ipcq_test
