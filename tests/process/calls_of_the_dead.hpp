// The fixture of the tests in which clients and servers of calls are killed.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "process/peers.hpp"

namespace ipcq_test {

inline int kills_wanted() {
  const char* const text = std::getenv("IPCQ_CALL_KILLS");
  return text != nullptr ? std::atoi(text) : 12;
}

class CallsOfTheDead : public ProcessTest {
 protected:
  static constexpr std::uint64_t kCalls = 60;

  void create_queue(OnServerDeath on_server_death) {
    embed_broker();
    broker_->create("q", {.slots = 6, .size = 256, .lines = 8, .calls = 8, .on_server_death = on_server_death});
  }
  // "q", whose requests are passed on to "b", in one pool or each in its own.
  void create_two_queues(OnServerDeath on_server_death, bool share) {
    embed_broker();
    if (share) broker_->create_pool("pool", {.slots = 8, .size = 256});
    const std::string pool = share ? "pool" : "";
    broker_->create(
        "q", {.slots = 6, .size = 256, .pool = pool, .lines = 8, .calls = 8, .on_server_death = on_server_death});
    broker_->create("b", {.slots = 6, .size = 256, .pool = pool, .lines = 8, .calls = 8});
  }
  // Passes what comes to "q" on to "b".
  Peer& start_forwarder(const std::string& step = {}) {
    Peer& forwarder = spawn_ready("server", {"onward=b", in_lines()}, step);
    servers_.push_back(&forwarder);
    return forwarder;
  }
  // Answers what comes to "b".
  Peer& start_second(const std::string& step = {}) {
    Peer& server = spawn_ready("server", {"queue=b", "delay_us=300", in_lines()}, step);
    servers_.push_back(&server);
    return server;
  }
  void create_answering_queue() {
    by_handler_ = true;
    embed_broker();
    broker_->create("q", {.slots = 6, .size = 256, .lines = 8, .handler = "identity", .calls = 8});
  }
  Peer& start_server(const std::string& step = {}) {
    Peer& server = spawn_ready("server", {"delay_us=300"}, step);  // callers sleep meanwhile
    servers_.push_back(&server);
    return server;
  }
  // `pause_us`: before each request.
  Peer& start_caller(std::uint32_t id, std::uint64_t count, const std::string& step = {}, int pause_us = 0) {
    const std::vector<std::string> options = {"id=" + std::to_string(id),
                                              "count=" + std::to_string(count),
                                              "delay_us=" + std::to_string(pause_us),
                                              "window=4",
                                              std::string("by_handler=") + (by_handler_ ? "1" : "0"),
                                              in_lines()};
    return step.empty() ? spawn_ready("caller", options) : spawn("caller", options, step);
  }
  static std::set<std::uint64_t> ended_calls(const Peer& caller, Event how) {
    std::set<std::uint64_t> calls;
    for (const Record& r : caller.records()) {
      if (r.event != how) continue;
      EXPECT_TRUE(calls.insert(r.sequence).second) << "call " << r.sequence << " twice";
    }
    return calls;
  }
  // Each of its calls came to an answer, but for so many whose server died.
  void expect_all_answered(Peer& caller, std::uint64_t count, std::uint64_t may_die) {
    ASSERT_EQ(end_of(caller), "exit 0") << caller.output();
    const auto answered = ended_calls(caller, Event::received), lost = ended_calls(caller, Event::lost);
    EXPECT_LE(lost.size(), may_die);
    EXPECT_EQ(answered.size() + lost.size(), count);
  }
  void end_servers() {
    for (Peer* s : servers_) {
      if (!s->ended()) s->go();
    }
    for (Peer* s : servers_) {
      const std::string end = end_of(*s);
      EXPECT_TRUE(end == "exit 0" || end == "signal 9") << end;
    }
    servers_.clear();
  }
  void expect_clean() {
    end_servers();
    const QueueStats q = stats();
    EXPECT_EQ(q.calls_open + q.calls_answered, 0u);
    expect_nothing_left("q");
  }

  std::string in_lines() const { return std::string("in_lines=") + (in_lines_ ? "1" : "0"); }

  bool by_handler_ = false;
  bool in_lines_ = false;
  std::vector<Peer*> servers_;
};

}  // namespace ipcq_test
