// A client is killed at every named step of the protocol, with survivors on both sides: nothing of the living is lost
// or doubled, what the dead one had half done is repaired, and no slot stays behind.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "process/kill_cases.hpp"
#include "process/peers.hpp"

namespace ipcq_test {
namespace {

TEST(KillSteps, EveryStepOfTheSourcesIsTested) {
  std::set<std::string> tested, named;
  for (const auto& c : kKillCases) tested.insert(c.step);
  tested.insert("attach.answered");                            // KilledWhileAttaching
  for (const auto& c : kCallKillCases) tested.insert(c.step);  // call_kill_test
  for (const auto& c : kForwardedCallKillCases) tested.insert(c.step);
  // Of the broker, not of a client: serving_test holds it up there, and counts.
  for (const char* step : {"create.pool_made", "create.queue_made", "create.committed", "remove.taken", "remove.ended",
                           "endpoint.block", "stats.block", "stats.scan"}) {
    tested.insert(step);
  }
  // Of an executor: executor/interrupted_test kills it there.
  tested.insert({"execute.handled", "interrupted.read"});
  const std::regex pattern("IPCQ_CRASH_POINT\\(\"([^\"]+)\"\\)");
  for (const auto& file : std::filesystem::recursive_directory_iterator(IPCQ_SOURCE_DIR)) {
    if (!file.is_regular_file()) continue;
    std::ifstream in(file.path());
    const std::string text(std::istreambuf_iterator<char>(in), {});
    for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it) named.insert((*it)[1]);
  }
  EXPECT_FALSE(named.empty());
  EXPECT_EQ(named, tested) << "kKillCases names other steps than " << IPCQ_SOURCE_DIR;
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
      ASSERT_EQ(in.send(stamped(8, i, in.inline_bytes() + 1), Duration::zero()), Status::ok)
          << "slot " << i << " cannot be found";
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

  void create_queues() {
    Broker& broker = embed_broker();
    broker.create_pool("pool", {.slots = kSlots, .size = std::max(256u, 2 * case_.line)});
    QueueOptions options{.pool = "pool", .lines = 4, .line = case_.line, .groups = {{"default"}, {"tap"}}};
    if (overwrites_) options.backpressure = Backpressure::drop_oldest;
    broker.create("q", options);
    broker.create("out", {.pool = "pool", .lines = 4, .line = case_.line});
    session_ = connect({.broker = name_});
    anchor_ = session_.producer("q");
    anchor_out_ = session_.producer("out");
  }

  Peer& add_consumer(std::vector<std::string> more, const std::string& step = {}) {
    more.push_back("queue=" + last_);
    consumers_.push_back(&spawn_ready("consumer", more, step));
    return *consumers_.back();
  }
  void start_dying_producer(std::vector<std::string> options, const std::string& consumer_pause) {
    add_consumer({consumer_pause});
    add_consumer({consumer_pause});
    options.push_back("id=2");
    if (case_.victim == Victim::batch_producer) options.insert(options.end(), {"batch=6", in_line()});
    if (case_.victim == Victim::loan_dropper) options.push_back("drop_loans=1");
    victim_ = &spawn_ready("producer", options, plan());
  }
  void start_dying_consumer(const std::string& consumer_pause) {
    if (forwards_) forwarders_.push_back(&spawn_ready("forwarder", {"from=q", "to=out"}));
    add_consumer({consumer_pause});
    std::vector<std::string> mine;
    if (case_.victim == Victim::batch_consumer) mine = {"batch=3"};
    if (case_.victim == Victim::nacker) mine = {"nack_every=3"};
    if (case_.victim == Victim::copier) mine = {"into=2048"};
    if (case_.victim == Victim::watcher) mine = {"consume=4"};
    // The other group releases most messages first: the victim frees the slots and lines, and producers sleep
    // meanwhile.
    const std::string_view step = case_.step;
    const bool frees = step == "release.last" || step == "ring.incremented";
    if (frees && case_.victim == Victim::consumer) mine = {"delay_us=300"};
    victim_ = &add_consumer(mine, plan());
  }
  void start_peers() {
    tap_ = &spawn_ready("consumer", {"group=tap"});
    // The survivors are slower where the victim must find something to do.
    const std::string consumer_pause = case_.victim == Victim::blocked || overwrites_ ? "delay_us=2000"
                                       : !producer_dies_                              ? "delay_us=1000"
                                                                                      : "delay_us=0";
    const std::string bytes = forwards_ ? "bytes=" + std::to_string(2 * case_.line) : usual_ ? "bytes=0" : in_line();
    std::vector<std::string> producing = {bytes, "count=" + std::to_string(kMessages), "go=1"};
    if (case_.victim == Victim::slow_producer || case_.victim == Victim::idle_consumer) {
      producing.push_back("delay_us=1500");
    }
    if (producer_dies_) {
      start_dying_producer(producing, consumer_pause);
    } else if (case_.victim == Victim::forwarder) {
      add_consumer({});
      forwarders_.push_back(&spawn_ready("forwarder", {"from=q", "to=out"}));
      victim_ = &spawn_ready("forwarder", {"from=q", "to=out"}, plan());
    } else {
      start_dying_consumer(consumer_pause);
    }
    const auto start_producer = [&](const char* id) {
      std::vector<std::string> options = producing;
      options.push_back(id);
      producers_.push_back(&spawn_ready("producer", options));
      producers_.back()->go();
    };
    start_producer("id=1");
    if (producer_dies_) {
      victim_->go();
    } else {
      start_producer("id=3");
    }
  }

  // Its stream ends only once another producer of the same queue has come and closed.
  void replace_producer() {
    std::uint64_t began = 0, done = 0;
    for (const Record& r : victim_->records()) {
      if (r.event == Event::sending) began = r.sequence + 1;
      if (r.event == Event::sent) done = r.sequence + 1;
    }
    sent_.push_back({2, done, began});
    anchor_.close();
    std::vector<Peer*> readers = consumers_;
    readers.push_back(tap_);
    expect_no_end(readers, "q");
    auto replacement = session_.producer("q");
    for (std::uint64_t i = 0; i < 3; ++i) ASSERT_EQ(replacement.send(stamped(9, i), kPeerBound), Status::ok);
    sent_.push_back({9, 3, 3});
    replacement.close();
  }

  void expect_survivors_to_end() {
    std::vector<Peer*> alive;
    for (Peer* p : consumers_) {
      if (p != victim_) alive.push_back(p);
    }
    if (producer_dies_) {
      replace_producer();
      if (HasFatalFailure()) return;
    } else {
      anchor_.close();
      for (Peer* f : forwarders_) EXPECT_EQ(end_of(*f), "exit 0");
      anchor_out_.close();
      if (case_.victim == Victim::forwarder) {
        expect_no_end(alive, "out");
        broker_->end_of_stream("out");
      }
    }
    for (Peer* p : alive) EXPECT_EQ(end_of(*p), "exit 0");
    EXPECT_EQ(end_of(*tap_), "exit 0");
    anchor_out_.close();
  }

  // What everybody wrote down, and what the broker counted.
  void check_messages() {
    const std::vector<const Peer*> readers(consumers_.begin(), consumers_.end());
    // What receive_into() has finished, its caller has, who is dead.
    const std::uint64_t may_lose = std::string_view(case_.step) == "copy.finished" ? 1 : 0;
    const GroupCheck at_consumers = check_group(readers, sent_, overwrites_, may_lose);
    EXPECT_EQ(at_consumers.lost, may_lose);
    const GroupCheck at_tap = check_group({tap_}, sent_, overwrites_);
    EXPECT_EQ(at_tap.inversions, 0u);
    if (producer_dies_) {
      EXPECT_EQ(at_consumers.inversions, 0u);
    } else if (!forwards_) {
      // A message that the victim had taken and not received comes to a survivor late, and truly for the first time.
      const bool many = case_.victim == Victim::batch_consumer || case_.victim == Victim::watcher;
      EXPECT_LE(at_consumers.inversions, many ? 3u : 1u);
    }
    EXPECT_EQ(group_stats("default", last_).delivered, at_consumers.distinct + may_lose);
    EXPECT_EQ(group_stats("tap").delivered, at_tap.distinct);
    if (!overwrites_) {
      EXPECT_EQ(at_consumers.distinct + may_lose, at_tap.distinct);
      EXPECT_EQ(stats("q").published, at_tap.distinct);
    }
  }

  // A payload for the lines, which it fills if they are not of the usual size.
  std::string in_line() const { return "bytes=" + std::to_string(usual_ ? 40 : case_.line - 34); }

  const KillCase& case_ = GetParam();
  const bool usual_ = case_.line == 128;
  const bool forwards_ = case_.victim == Victim::forwarder || case_.victim == Victim::downstream;
  const bool producer_dies_ = case_.victim <= Victim::overwriter;
  const bool overwrites_ = case_.victim == Victim::overwriter;
  const std::string last_ = forwards_ ? "out" : "q";
  Session session_;
  Producer anchor_, anchor_out_;  // keep the streams from ending while peers come and go
  std::vector<Peer*> consumers_;  // of the last queue's default group
  std::vector<Peer*> forwarders_;
  std::vector<Peer*> producers_;  // that survive: 1 and 3
  Peer* tap_ = nullptr;
  Peer* victim_ = nullptr;
  std::vector<Expectation> sent_;
};
INSTANTIATE_TEST_SUITE_P(, KillTest, testing::ValuesIn(kKillCases), kill_case_name);

TEST_P(KillTest, SurvivorsGoOn) {
  create_queues();
  start_peers();
  expect_killed(*victim_);
  if (HasFatalFailure()) return;
  for (Peer* p : producers_) EXPECT_EQ(end_of(*p), "exit 0");
  sent_ = {{1, kMessages, kMessages}};
  if (producers_.size() > 1) sent_.push_back({3, kMessages, kMessages});
  expect_survivors_to_end();
  if (HasFatalFailure()) return;
  check_messages();
  expect_nothing_left("q");
  expect_nothing_left("out");
  expect_all_usable(session_);
}

}  // namespace
}  // namespace ipcq_test
