#include "process/peers.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>

#include "queue_stats.hpp"

namespace ipcq_test {
namespace {

std::string peer_program() {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "process_peer").string();
}

std::string unique_name() {
  static std::atomic<unsigned> count{0};
  return "process-" + std::to_string(getpid()) + "-" + std::to_string(count++);
}

std::string make_directory() {
  std::string path = (std::filesystem::temp_directory_path() / "ipcq-records.XXXXXX").string();
  if (mkdtemp(path.data()) == nullptr) throw std::runtime_error("mkdtemp " + path);
  return path;
}

}  // namespace

Peer::Peer(const std::string& role, const std::vector<std::string>& arguments, const std::string& step,
           const std::string& log, const std::string& output)
    : what_(role), log_(log), output_(output) {
  std::vector<std::string> words = {peer_program(), role};
  words.insert(words.end(), arguments.begin(), arguments.end());
  for (const auto& a : arguments) what_ += " " + a;
  if (!step.empty()) what_ += " IPCQ_CRASH_POINT=" + step;
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  std::string plan = "IPCQ_CRASH_POINT=" + step;
  std::vector<char*> env;
  for (char** e = environ; *e != nullptr; ++e) env.push_back(*e);
  if (!step.empty()) env.push_back(plan.data());
  env.push_back(nullptr);

  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  input_ = pipe_ends[1];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[0], STDIN_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  const int error = posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), env.data());
  posix_spawn_file_actions_destroy(&actions);
  close(pipe_ends[0]);
  if (error != 0) throw std::runtime_error("posix_spawn " + words[0]);
}

Peer::~Peer() {
  if (!ended()) {
    signal(SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(input_);
}

bool Peer::has(Event event) const {
  const auto all = records();
  return std::any_of(all.begin(), all.end(), [&](const Record& r) { return r.event == event; });
}

std::string Peer::output() const {
  std::ifstream in(output_);
  return {std::istreambuf_iterator<char>(in), {}};
}

void Peer::go() const {
  const char byte = 'g';
  ASSERT_EQ(write(input_, &byte, 1), 1);
}

void Peer::signal(int number) const { kill(pid_, number); }

std::optional<int> Peer::ended() {
  int status = 0;
  if (!status_ && waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
  return status_;
}

bool Peer::is_stopped() {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_;
}

std::string Peer::end_text() const {
  if (!status_) return "running";
  if (WIFEXITED(*status_)) return "exit " + std::to_string(WEXITSTATUS(*status_));
  return "signal " + std::to_string(WTERMSIG(*status_));
}

ProcessTest::ProcessTest() : name_(unique_name()), directory_(make_directory()) {}

ProcessTest::~ProcessTest() {
  if (testing::Test::HasFailure()) {
    for (auto& p : peers_) {
      (void)p.ended();
      std::cerr << "peer " << p.pid() << " (" << p.what() << "): " << p.end_text() << "\n" << p.output();
    }
  }
  peers_.clear();
  broker_.reset();
  for (const auto& entry : list_brokers()) {  // of brokers that were peers
    if (entry.name == name_ || entry.socket_path.rfind(directory_ + "/", 0) == 0) remove_leftovers(entry);
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void ProcessTest::dump_all() const {
  std::cerr << promptly([broker = broker_.get(), name = name_] {
    std::string all;
    try {
      for (const auto& q : (broker != nullptr ? broker->stats() : fetch_stats(name)).queues) {
        all += broker != nullptr ? broker->dump(q.name) : fetch_dump(q.name, name);
      }
    } catch (const std::exception& e) {
      all += e.what();
    }
    return all;
  });
}

bool ProcessTest::bounded(const std::string& what, const std::function<bool()>& done, Duration bound) {
  if (eventually(done, bound)) return true;
  dump_all();
  ADD_FAILURE() << "waited in vain: " << what;
  return false;
}

std::string ProcessTest::end_of(Peer& peer, Duration bound) {
  bounded(
      "end of " + peer.what(), [&] { return peer.ended().has_value(); }, bound);
  return peer.end_text();
}

Peer& ProcessTest::spawn(const std::string& role, std::vector<std::string> arguments, const std::string& step) {
  const std::string base = directory_ + "/" + std::to_string(spawned_++);
  arguments.push_back("broker=" + name_);
  arguments.push_back("log=" + base + ".records");
  return peers_.emplace_back(role, arguments, step, base + ".records", base + ".output");
}

Peer& ProcessTest::spawn_ready(const std::string& role, std::vector<std::string> arguments, const std::string& step) {
  Peer& p = spawn(role, std::move(arguments), step);
  bounded(p.what() + " is ready", [&] { return p.has(Event::ready) || p.ended(); });
  return p;
}

Broker& ProcessTest::embed_broker(LogCallback log) {
  broker_ = std::make_unique<Broker>(BrokerOptions{.name = name_, .log = std::move(log)});
  return *broker_;
}

Peer& ProcessTest::spawn_broker(std::vector<std::string> arguments) {
  return spawn_ready("broker", std::move(arguments));
}

QueueStats ProcessTest::stats(const std::string& queue) const {
  return queue_of(broker_ ? broker_->stats() : fetch_stats(name_), queue);
}

GroupStats ProcessTest::group_stats(const std::string& group, const std::string& queue) const {
  return group_of(stats(queue), group);
}

void ProcessTest::expect_nothing_left(const std::string& queue) {
  bounded("endpoints of " + queue + " to close", [&] { return stats(queue).endpoints.empty(); });
  const QueueStats q = stats(queue);
  EXPECT_EQ(q.empty, q.slots);
  EXPECT_EQ(q.claimed + q.ready + q.inflight + q.done + q.reading, 0u);
  EXPECT_EQ(q.blocked_by_pid, 0);
  for (const auto& g : q.groups) {
    EXPECT_EQ(g.held, 0u) << g.name;
    EXPECT_EQ(g.waiting, 0u) << g.name;
    EXPECT_EQ(g.published, g.delivered + g.filtered + g.dropped + g.expired + g.dead_lettered + g.lost) << g.name;
    EXPECT_EQ(g.lost, 0u) << g.name;
  }
  const std::string dump = broker_ ? broker_->dump(queue) : fetch_dump(queue, name_);
  EXPECT_THAT(dump, testing::Not(testing::ContainsRegex("\n(slot|alias|held entry) [0-9]+:")));
}

GroupCheck check_group(const std::vector<const Peer*>& consumers, const std::vector<Expectation>& producers,
                       bool may_drop, std::uint64_t may_lose) {
  struct Seen {
    unsigned first_hand = 0;
    unsigned redelivered = 0;
  };
  std::map<std::pair<std::uint32_t, std::uint64_t>, Seen> seen;
  GroupCheck check;
  for (const Peer* c : consumers) {
    std::map<std::uint32_t, std::uint64_t> next;
    for (const Record& r : c->records()) {
      if (r.event != Event::received) continue;
      Seen& s = seen[{r.producer, r.sequence}];
      ++(r.redeliveries == 0 ? s.first_hand : s.redelivered);
      if (r.redeliveries != 0) continue;
      if (r.sequence < next[r.producer]) {
        ++check.inversions;
      } else {
        next[r.producer] = r.sequence + 1;
      }
    }
  }
  for (const auto& [message, s] : seen) {
    EXPECT_LE(s.first_hand, 1u) << "duplicate of message " << message.second << " of producer " << message.first;
    const auto it = std::find_if(producers.begin(), producers.end(),
                                 [&, id = message.first](const Expectation& e) { return e.producer == id; });
    EXPECT_TRUE(it != producers.end() && message.second < it->at_most)
        << "message " << message.second << " of producer " << message.first << " was never sent";
  }
  check.distinct = seen.size();
  if (may_drop) return check;
  for (const Expectation& e : producers) {
    for (std::uint64_t i = 0; i < e.at_least; ++i) {
      if (seen.count({e.producer, i}) != 0) continue;
      EXPECT_LE(++check.lost, may_lose) << "message " << i << " of producer " << e.producer << " is lost";
    }
  }
  return check;
}

}  // namespace ipcq_test
