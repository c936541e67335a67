// The fixture of the process tests. Peers are real processes with mappings of their own. Every wait is bounded; one
// that takes too long prints the ring of every queue, and fails.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eventually.hpp"
#include "ipcq/ipcq.hpp"
#include "process/records.hpp"
#include "sanitizer.hpp"
#include "stamped.hpp"

namespace ipcq_test {

using namespace ipcq;
using namespace std::chrono_literals;

// Longer than anything that a peer does in a test that passes.
inline constexpr Duration kPeerBound = 15s;
// How long a test watches that nothing happens.
inline constexpr Duration kMoment = 50ms;

// One process of the program process_peer. Killed at the end of its test.
class Peer {
 public:
  // `step`: value of IPCQ_CRASH_POINT for this process, e.g. "publish.claimed:kill:2".
  Peer(const std::string& role, const std::vector<std::string>& arguments, const std::string& step,
       const std::string& log, const std::string& output);
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer();

  pid_t pid() const { return pid_; }
  const std::string& what() const { return what_; }
  std::vector<Record> records() const { return read_records(log_); }
  bool has(Event event) const;
  // What it wrote to standard output and standard error.
  std::string output() const;
  void go() const;  // lets a peer with go=1 start
  void signal(int number) const;

  // The wait status, if it has ended; does not wait.
  std::optional<int> ended();
  bool is_stopped();  // by a signal, seen through waitpid
  // Of an ended peer: "exit N" or "signal N".
  std::string end_text() const;

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  std::string what_;
  std::string log_;
  std::string output_;
  std::optional<int> status_;
};

class ProcessTest : public testing::Test {
 protected:
  ProcessTest();
  ~ProcessTest() override;

  // Waits for `done`. On expiry prints every queue's dump and fails.
  bool bounded(const std::string& what, const std::function<bool()>& done, Duration bound = kPeerBound);
  // Waits for a peer to end, and returns its end_text().
  std::string end_of(Peer& peer, Duration bound = kPeerBound);

  Peer& spawn(const std::string& role, std::vector<std::string> arguments, const std::string& step = {});
  // The same; returns once the peer is attached.
  Peer& spawn_ready(const std::string& role, std::vector<std::string> arguments, const std::string& step = {});

  // Starts a broker in the test's process, or in a process of its own.
  Broker& embed_broker(LogCallback log = {});
  Peer& spawn_broker(std::vector<std::string> arguments = {});

  QueueStats stats(const std::string& queue = "q") const;
  GroupStats group_stats(const std::string& group = "default", const std::string& queue = "q") const;
  // Expects that no slot, alias or held entry of the queue is in use. Called when all endpoints are closed.
  void expect_nothing_left(const std::string& queue);

  const std::string name_;       // of the broker
  const std::string directory_;  // of the records
  std::unique_ptr<Broker> broker_;
  std::list<Peer> peers_;

 private:
  void dump_all() const;
  unsigned spawned_ = 0;
};

// The messages of one producer that a group must have received.
struct Expectation {
  std::uint32_t producer = 0;
  std::uint64_t at_least = 0;  // all of [0, at_least)
  std::uint64_t at_most = 0;   // and none from this one on
};
struct GroupCheck {
  std::uint64_t distinct = 0;    // messages delivered
  std::uint64_t inversions = 0;  // after a later one, by producer and consumer, and not marked as redelivered
  std::uint64_t lost = 0;
};
// Checks the records of a group's consumers. Fails on more than `may_lose` gaps, unless `may_drop`, and on duplicates
// that are not marked as redelivered.
GroupCheck check_group(const std::vector<const Peer*>& consumers, const std::vector<Expectation>& producers,
                       bool may_drop = false, std::uint64_t may_lose = 0);

}  // namespace ipcq_test
