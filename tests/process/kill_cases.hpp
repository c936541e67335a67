// The deaths of kill_test: a step of the protocol, the client that dies there, and when.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace ipcq_test {

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
  copier,          // receive_into
  watcher,         // consume
  forwarder,       // from one queue to another of the same pool
  downstream,      // a consumer of what was forwarded
};

struct KillCase {
  const char* step;
  Victim victim;
  int count;  // dies when it gets there for the count-th time
  std::uint32_t line = 128;
};

inline constexpr KillCase kKillCases[] = {
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
    {"copy.claimed", Victim::copier, 1},
    {"copy.claimed", Victim::copier, 8},
    {"copy.finished", Victim::copier, 1},
    {"copy.finished", Victim::copier, 8},
    {"consume.claimed", Victim::watcher, 1},
    {"consume.claimed", Victim::watcher, 4},
    {"consume.shown", Victim::watcher, 1},
    {"consume.shown", Victim::watcher, 8},
    {"consume.finished", Victim::watcher, 1},
    {"consume.finished", Victim::watcher, 8},
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
    // In lines of another size, full of payload.
    {"publish.claimed", Victim::producer, 10, 1088},
    {"publish.tagged", Victim::batch_producer, 3, 64},
    {"publish.tagged", Victim::batch_producer, 3, 1088},
    {"take.claimed", Victim::consumer, 8, 64},
    {"take.claimed", Victim::batch_consumer, 3, 1088},
    {"take.held", Victim::batch_consumer, 6, 1088},
    {"copy.claimed", Victim::copier, 8, 64},
    {"copy.claimed", Victim::copier, 8, 1088},
    {"consume.claimed", Victim::watcher, 4, 1088},
    {"consume.shown", Victim::watcher, 8, 64},
    {"consume.shown", Victim::watcher, 8, 1088},
    {"nack.orphaned", Victim::nacker, 3, 1088},
    {"forward.published", Victim::forwarder, 4, 1088},
};

// The deaths of call_kill_test.
struct CallKillCase {
  const char* step;
  bool server;  // dies; else a client
  int count;    // when it gets there for the count-th time
};
inline constexpr CallKillCase kCallKillCases[] = {
    {"call.opened", false, 1},     {"call.opened", false, 9},
    {"publish.claimed", false, 4}, {"publish.slot_marked", false, 3},
    {"publish.tagged", false, 7},  {"wait.armed", false, 2},
    {"call.slot_freed", false, 1}, {"call.slot_freed", false, 4},
    {"release.last", false, 2},    {"loan.taken", false, 3},
    {"take.claimed", true, 1},     {"take.claimed", true, 6},
    {"take.held", true, 1},        {"take.held", true, 7},
    {"take.finished", true, 5},    {"answer.writing", true, 1},
    {"answer.writing", true, 2},   {"answer.writing", true, 8},
    {"answer.written", true, 1},   {"answer.written", true, 2},
    {"answer.written", true, 4},   {"answer.answered", true, 1},
    {"answer.answered", true, 2},  {"answer.answered", true, 3},
    {"answer.answered", true, 4},  {"answer.answered", true, 9},
    {"release.started", true, 2},  {"release.slot_done", true, 2},
    {"ring.incremented", true, 3}, {"ring.incremented", false, 3},
    {"wait.armed", true, 2},
};

// Deaths of a client whose queue's handler answers.
inline constexpr CallKillCase kHandlerCallKillCases[] = {
    {"call.opened", false, 3},      {"publish.claimed", false, 2},   {"publish.tagged", false, 5},
    {"take.claimed", false, 1},     {"take.claimed", false, 7},      {"take.held", false, 1},
    {"take.held", false, 8},        {"take.finished", false, 6},     {"answer.writing", false, 1},
    {"answer.writing", false, 9},   {"answer.written", false, 1},    {"answer.written", false, 6},
    {"answer.answered", false, 1},  {"answer.answered", false, 2},   {"answer.answered", false, 7},
    {"release.started", false, 2},  {"release.slot_done", false, 2}, {"call.slot_freed", false, 2},
    {"ring.incremented", false, 2},
};

// The deaths of forwarded_call_kill_test.
enum class CallVictim {
  caller,
  forwarder,  // passes requests on
  server,     // of the queue to which they are passed
};
struct ForwardedCallKillCase {
  const char* step;
  CallVictim victim;
  int count;
};
inline constexpr ForwardedCallKillCase kForwardedCallKillCases[] = {
    {"take.held", CallVictim::forwarder, 1},
    {"take.held", CallVictim::forwarder, 4},
    {"publish.claimed", CallVictim::forwarder, 3},
    {"pass_on.claimed", CallVictim::forwarder, 1},
    {"pass_on.claimed", CallVictim::forwarder, 4},
    {"pass_on.noted", CallVictim::forwarder, 1},
    {"pass_on.noted", CallVictim::forwarder, 4},
    {"pass_on.renumbered", CallVictim::forwarder, 1},
    {"pass_on.renumbered", CallVictim::forwarder, 2},
    {"pass_on.renumbered", CallVictim::forwarder, 9},
    {"pass_on.published", CallVictim::forwarder, 1},
    {"pass_on.published", CallVictim::forwarder, 2},
    {"pass_on.published", CallVictim::forwarder, 9},

    {"take.claimed", CallVictim::server, 3},
    {"take.held", CallVictim::server, 1},
    {"take.held", CallVictim::server, 6},
    {"answer.writing", CallVictim::server, 1},
    {"answer.writing", CallVictim::server, 2},
    {"answer.written", CallVictim::server, 2},
    {"answer.written", CallVictim::server, 4},
    {"answer.answered", CallVictim::server, 1},
    {"answer.answered", CallVictim::server, 2},
    {"answer.answered", CallVictim::server, 3},
    {"answer.answered", CallVictim::server, 7},
    {"forwarded.slot_freed", CallVictim::server, 1},
    {"forwarded.slot_freed", CallVictim::server, 4},

    {"call.opened", CallVictim::caller, 4},
    {"call.slot_freed", CallVictim::caller, 2},
};

// The same where requests and answers are in lines.
inline constexpr ForwardedCallKillCase kShortForwardedCallKillCases[] = {
    {"pass_on.claimed", CallVictim::forwarder, 2},
    {"pass_on.noted", CallVictim::forwarder, 3},
    {"pass_on.renumbered", CallVictim::forwarder, 1},
    {"pass_on.renumbered", CallVictim::forwarder, 5},
    {"pass_on.published", CallVictim::forwarder, 3},

    {"take.held", CallVictim::server, 3},
    {"answer.written", CallVictim::server, 3},
    {"answer.answered", CallVictim::server, 3},
    {"forwarded.slot_freed", CallVictim::server, 3},
};

inline std::string kill_case_name(const testing::TestParamInfo<KillCase>& info_) {
  constexpr const char* kNames[] = {"Producer",   "SlowProducer", "BlockedProducer", "BatchProducer", "LoanDropper",
                                    "Overwriter", "Consumer",     "IdleConsumer",    "BatchConsumer", "Nacker",
                                    "Copier",     "Watcher",      "Forwarder",       "Downstream"};
  std::string name = info_.param.step;
  std::replace(name.begin(), name.end(), '.', '_');
  name += std::string("_").append(kNames[static_cast<int>(info_.param.victim)]) + std::to_string(info_.param.count);
  return info_.param.line == 128 ? name : name + "_line" + std::to_string(info_.param.line);
}

}  // namespace ipcq_test
