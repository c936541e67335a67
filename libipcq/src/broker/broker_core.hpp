// The broker's state and its control thread. broker_core.cpp: life, creation, stop. broker_device.cpp: runners and
// device queues. broker_recovery.cpp: runners that die. broker_quarantine.cpp: slots that a dead client's GPU work may
// still write. broker_serve.cpp: the event loop, requests, deaths. broker_admission.cpp: who may connect, and for how
// long without a hello. broker_endpoints.cpp: who opens and closes, groups, ends of streams. broker_stats.cpp:
// counters. broker_dump.cpp: one queue for humans. broker_answers.cpp: who asks for these. broker_stop.cpp: the end.
//
// One mutex guards everything here; the data path never takes it. The control thread sleeps in epoll while nothing
// happens: no timer, so that an idle broker costs nothing. Neither it nor anybody with the mutex waits for a runner,
// for memory to be reserved or given back, for a log to be read, or for a look at what is as large as the data path:
// these take as long as they take, on the thread of who creates, on one of their own, and with the mutex open.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "base/log_queue.hpp"
#include "broker/admission.hpp"
#include "broker/broker_names.hpp"
#include "broker/closer.hpp"
#include "broker/recoveries.hpp"
#include "broker/runner_link.hpp"
#include "broker/stats_view.hpp"
#include "control/control.hpp"
#include "executor/executor.hpp"
#include "ipcq/broker.hpp"
#include "protocol/doorbell.hpp"
#include "queue/queue_map.hpp"
#include "repair/repair.hpp"

namespace ipcq::detail {

struct PoolState {
  PoolState() = default;
  PoolState(const PoolState&) = delete;
  PoolState& operator=(const PoolState&) = delete;
  ~PoolState();  // frees the device memory

  std::string name;
  PoolOptions options;
  std::shared_ptr<PoolMap> map;        // statistics may have it, too
  std::shared_ptr<RunnerLink> runner;  // of a device pool
  std::uint64_t block = 0;             // its number there
  std::uint32_t epoch = fork_epoch();
};

// Whether its memory went with its runner.
inline bool is_lost(const PoolState& pool) { return pool.runner && pool.runner->has_ended(); }

// A runner in use, and how the control thread learns of its end. It is lost when it answers no more, and gone when its
// process has ended.
struct WatchedRunner {
  std::shared_ptr<RunnerLink> link;
  Fd socket;
  Fd process;
  std::uint64_t lost_at_ns = 0;  // 0: it is not
  bool killed = false;           // since it had not gone by itself
};

// One open producer or consumer.
struct EndpointState {
  std::uint32_t client = 0;  // 0: free
  EndpointKind kind = EndpointKind::none;
  unsigned group = 0;
  std::int32_t pid = 0;
  std::uint32_t uid = 0;
  int session = -1;  // socket of its client
  bool uses_cuda = false;
  bool took_place = false;  // of a producer that died
};

// How an endpoint ends, as its queue's stream of messages goes.
enum class Closing : std::uint8_t { clean, broken_off, never_used };

struct GroupState {
  std::string name;  // empty: free
  bool durable = false;
  bool lossy = false;
  bool warned = false;  // that nobody reads it
  std::uint64_t joined_at = 0;
  std::uint32_t members = 0;
  bool leaving = false;
  std::uint64_t left_at = 0;
  std::uint64_t lost = 0;            // of endpoints that are gone
  std::uint64_t redelivered = 0;     // likewise
  std::uint64_t damaged_before = 0;  // lines that the executor had passed over when the group joined
};

struct QueueEntry {  // NOLINT(bugprone-reserved-identifier,readability-identifier-naming): of the move that clang makes
  std::string name;
  QueueOptions options;
  std::shared_ptr<PoolState> pool;
  std::shared_ptr<QueueMap> map;            // statistics may have it, too
  std::unique_ptr<Executor> executor;       // after the map: ends first
  std::shared_ptr<RunnerLink> executed_by;  // of a queue whose executor is a runner's
  int device = 0;                           // of a device queue
  bool lost = false;                        // with its runner: nothing is promised of it any more
  std::vector<EndpointState> endpoints;
  // Of each endpoint's held entries, those that former owners left in use: given back, or taken over by others. Never
  // fewer than there are.
  std::vector<std::uint32_t> kept;
  GroupState groups[kMaxGroups];
  std::uint32_t producers = 0;               // open now
  std::uint32_t producers_lost = 0;          // died, and no other has come in their place
  std::uint64_t producers_opened = 0;        // ever
  bool end_asked = false;                    // by end_stream()
  ExecutorKind asked = ExecutorKind::auto_;  // of a device queue: the last that was asked for
  bool wants_stream = false;                 // its executor is to change once the queue has a place for that
  std::vector<std::uint64_t> tombstones;     // tickets, ascending
  // Previous look, or the creation, for the rate.
  mutable std::uint64_t rate_published = 0;
  mutable std::uint64_t rate_at_ns = 0;
};

// A producer that closed while its GPU had not completed what it had published. Should its process end first, nobody
// else would end the wait for these payloads.
struct LateWriter {
  Fd pidfd;
  std::uint32_t client = 0;
  std::string queue;
  std::uint64_t generation = 0;
};

// Slots of a client that its GPU work may still write, out of use until that is known to have ended:
// broker_quarantine.cpp. Also kept where there is none yet: a runner's context may have failed with that client.
struct Quarantine {
  std::uint32_t client = 0;
  std::int32_t pid = 0;
  std::weak_ptr<PoolState> pool;
  int session = -1;                                // its client's socket; -1 once that client is dropped, and then
  std::shared_ptr<const Fd> connection = nullptr;  // the socket itself
  Fd pidfd;
  bool asked = false;  // its runner, whether its context works
};

// What dump() shows, but for what lies in shared memory.
struct DumpView {  // NOLINT(bugprone-reserved-identifier,readability-identifier-naming): as QueueEntry
  std::string name;
  std::string pool_name;
  std::shared_ptr<const QueueMap> map;
  std::shared_ptr<const PoolMap> pool;
  GroupState groups[kMaxGroups];
  std::vector<EndpointState> endpoints;
  std::vector<std::uint32_t> blocks;  // of held entries that may be in use
  std::uint32_t producers = 0;
  std::uint32_t producers_lost = 0;
};
std::string to_text(const DumpView& view);

struct ClientState {
  ClientState(Fd connection, Closer& closer) : socket(std::move(connection)), closer_(closer) {}
  ClientState(const ClientState&) = delete;
  ClientState& operator=(const ClientState&) = delete;
  ~ClientState() { closer_.hang_up(std::move(socket)); }

  const std::uint64_t number = next_number();  // no other client of this process has had it
  Fd socket;
  Fd pidfd;
  std::int32_t pid = 0;
  std::uint32_t uid = 0;
  std::uint64_t accepted_at_ns = 0;
  bool attached = false;  // said hello; until then half-open
  bool suspect = false;   // connection lost, endpoints open, process alive: nothing is taken from it until it ends

 private:
  static std::uint64_t next_number() noexcept {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }
  Closer& closer_;
};

// For what may take long: others get the mutex meanwhile.
class Opened {
 public:
  explicit Opened(std::mutex& mutex) : mutex_(mutex) { mutex_.unlock(); }
  ~Opened() { mutex_.lock(); }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

 private:
  std::mutex& mutex_;
};

// What a creation has made so far. Unless it comes to its end, that goes with the mutex open: it may be a runner that
// has to give it back.
template <class T>
class Unfinished {
 public:
  Unfinished(std::mutex& mutex, T& made) : mutex_(mutex), made_(made) {}
  ~Unfinished() {
    if (finished_) return;
    const Opened opened(mutex_);
    const T gone = std::move(made_);
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  void finish() noexcept { finished_ = true; }

 private:
  std::mutex& mutex_;
  T& made_;
  bool finished_ = false;
};

class BrokerCore {
 public:
  explicit BrokerCore(const BrokerOptions& options);
  ~BrokerCore();
  BrokerCore(const BrokerCore&) = delete;
  BrokerCore& operator=(const BrokerCore&) = delete;

  void create_pool(const std::string& name, const PoolOptions& options);
  void create_queue(const std::string& name, const QueueOptions& options);
  void end_of_stream(const std::string& queue);
  std::uint64_t stop(Duration drain_for);
  BrokerStats stats() const;
  std::string dump(const std::string& queue) const;
  const std::string& socket_path() const noexcept { return name_.socket_path(); }
  bool is_forked_child() const noexcept { return fork_epoch() != epoch_; }

 private:
  // broker_core.cpp
  std::shared_ptr<PoolState> make_pool(const std::string& name, const PoolOptions& options);  // opens the mutex
  void add_pool(const std::string& name, const PoolOptions& options);                         // likewise
  void check_options(const std::string& name, const QueueOptions& options) const;
  std::uint64_t new_generation() noexcept;
  void add_queue(const std::string& name, const QueueOptions& options);  // likewise
  void check_running(const std::string& object) const;
  QueueEntry& find(const std::string& queue);
  const QueueEntry& find(const std::string& queue) const;
  void log(LogLevel level, const std::string& text) const;

  // broker_stop.cpp
  void drain();
  void end_threads();
  std::uint64_t close_queues();
  void give_back();
  struct Left {
    std::uint64_t messages = 0;  // of the group that has most
    std::uint64_t held = 0;      // likewise, by its members
  };
  static Left close_queue(const QueueEntry& q);

  // broker_device.cpp. What asks a runner opens the mutex while it waits: look again at everything behind it.
  RunnerReply ask(RunnerLink& runner, const RunnerRequest& request);
  std::shared_ptr<RunnerLink> runner_of(int device);
  void require_runner(const std::string& object, int device);
  std::string backend_for(const std::string& name, const QueueOptions& options, const PoolState* shared);
  void watch_runner(int device, const WatchedRunner& watched);
  DeviceMemory allocate(PoolState& pool);
  void start_on_device(QueueEntry& q);
  bool has_mps(const QueueEntry& q) const;
  bool may_gpu_outlive(const QueueEntry& q, const EndpointState& e) const;
  std::string device_refusal(const QueueEntry& q, bool consumer, bool uses_cuda) const;
  void prefer_stream(QueueEntry& q);
  bool finish_switching();
  ClaimOutcome switch_executor(QueueEntry& q, ExecutorKind kind);
  Reply set_executor(QueueEntry& q, ExecutorKind kind);
  void keep_late_writer(const QueueEntry& q, const EndpointState& e);
  bool late_writer_died(int fd);

  // broker_quarantine.cpp
  bool keep_quarantine(const QueueEntry& q, const EndpointState& e);  // false: it could not
  bool serve_quarantine(int fd);
  bool may_be_inherited(std::uint32_t client) const;
  void keep_connection(ClientState& client);
  bool has_left(const Quarantine& q) const;
  void look_at_quarantines();
  void drop_quarantine(Quarantine& q) noexcept;
  void end_quarantine_of(const Quarantine& q, PoolState& pool) const;
  void start_check();
  void check_contexts() noexcept;
  void end_check();

  // broker_recovery.cpp
  bool serve_runner(int fd);
  void lose_runner(int device);
  bool end_lost_runners();
  void await_gone(int device);
  void bury_runner(int device);
  static bool lies_on(const QueueEntry& q, int device);
  std::vector<QueueEntry> take_queues_of(int device);
  std::vector<std::shared_ptr<PoolState>> take_pools_of(int device, const std::vector<QueueEntry>& ended);
  void end_lost_queue(QueueEntry& q, const std::string& how);
  void warn_of_lost_contexts(int device, const std::vector<QueueEntry>& ended) const;
  void start_recovery();
  void free_buried() noexcept;
  void recover() noexcept;

  // broker_serve.cpp
  void serve() noexcept;
  int patience() const noexcept;
  ClientState* client_at(int socket) const;
  void serve_client(ClientState& client);
  Reply answer(ClientState& client, const Request& request, pid_t sender, Fd& attachment);
  bool send_reply(const ClientState& client, Reply& reply, const Fd& attachment);
  Reply try_to_answer(ClientState& client, const Request& request, pid_t sender, Fd& attachment);
  Reply hello(ClientState& client, pid_t sender);
  Reply open_endpoint(const ClientState& client, const Request& request);
  static std::uint32_t choose_endpoint(QueueEntry& q, bool consumer);
  static std::vector<std::uint32_t> held_blocks(const QueueEntry& q);
  void warn_of_unread_default(QueueEntry& q) const;
  bool choose_group(QueueEntry& q, const Request& request, unsigned& group, Reply& refusal);
  // `alive`: the process goes on, and its GPU work with it.
  void close_endpoint(QueueEntry& q, EndpointState& e, Closing how, bool alive);
  void close_client(const ClientState& session, std::uint32_t id, Closing how);
  void end_sessions(const std::vector<ClientState*>& sessions, Closing how);
  void lose_connection(ClientState& client);
  std::vector<ClientState*> ended_sessions(pid_t pid) const;
  void serve_rest(pid_t pid);
  void client_died(int pidfd);
  void drop_client(ClientState& client);
  enum class Endpoints : std::uint8_t { none, some, with_gpu };
  Endpoints endpoints_of(const ClientState& client) const;
  void remove_member(QueueEntry& q, unsigned g);
  bool finish_leaving();
  void end_stream(QueueEntry& q);
  void look_for_end(QueueEntry& q);
  std::uint32_t new_client_id();
  bool outlives_its_endpoint(std::uint32_t id) const;
  void watch(int fd);
  void unwatch(int fd) noexcept;

  // broker_admission.cpp
  void accept_clients();
  void take_in(Fd socket, bool on_reserve);
  Load load_of(std::uint32_t uid) const;
  void turn_away(const ClientState& client, Refusal why, const std::string& text);
  void break_with(ClientState& client, Refusal why, const std::string& text);
  void pause_accepting();
  void resume_accepting();
  bool is_to_say_hello(const ClientState& client) const;
  bool end_half_open();
  void complain(const std::string& text);
  // broker_answers.cpp
  struct Question {
    std::uint64_t client = 0;  // its number
    std::uint32_t serial = 0;
    Op op = Op::stats;
    std::string queue;
  };
  struct Answer {
    Reply reply;
    Fd attachment;
  };
  bool has_asked(const ClientState& client) const;
  bool answer_later(const ClientState& client, const Request& request);
  Reply answer_now(const Request& request, Fd& attachment) const;
  void give_answers() noexcept;
  std::vector<Answer> answers_to(const std::vector<Question>& asked);
  void attach(const Question& question, const std::string& text, Answer& answer);
  void send_answer(const Question& question, Answer& answer);
  ClientState* client_who_asked(const Question& question) const;

  // broker_stats.cpp
  StatsView view_locked() const;
  DumpView dump_view_locked(const std::string& queue) const;
  QueueView view_of(const QueueEntry& q, const std::unordered_set<int>& suspects) const;
  void view_groups(const QueueEntry& q, QueueView& v) const;
  GroupStats group_stats(const QueueEntry& q, unsigned g, std::uint64_t next, std::uint64_t taken) const;
  EndpointStats endpoint_stats(const QueueEntry& q, std::size_t index) const;

  mutable LogQueue log_;  // its callback may ask this broker: it is called without the mutex
  Segment::Access access_;
  BrokerName name_;
  mutable std::mutex mutex_;
  const std::uint32_t epoch_ = fork_epoch();
  std::mutex stopping_;                             // one stop() at a time
  std::atomic<std::uint64_t> drain_until_{kNever};  // the soonest that any stop() asked for
  BrokerStats last_stats_;                          // taken by stop()
  std::uint64_t left_ = 0;                          // likewise
  std::uint64_t started_at_ns_ = 0;
  std::uint64_t last_generation_ = 0;
  std::uint32_t last_client_ = 1;          // 1 is the broker itself
  std::unordered_set<std::uint32_t> ids_;  // of endpoints
  std::uint64_t deaths_ = 0;
  bool leaving_ = false;    // some group is being dissolved
  bool switching_ = false;  // some executor is to change
  bool losing_ = false;     // some runner is lost and not gone, and may have to be killed
  bool half_open_ = false;  // some connection may have said no hello
  bool stopped_ = false;    // by stop(): nothing new is taken on
  bool quitting_ = false;   // likewise, once it has drained: the threads end
  bool gone_ = false;       // nothing is left
  std::uint64_t runner_deaths_ = 0;
  Recoveries recoveries_;
  std::condition_variable changed_;  // stopped_ is set, a runner is gone, or a creation has ended
  std::thread recovery_;             // from the first runner on
  std::vector<QueueEntry> buried_;   // of runners that died: unmapped by `recovery_`
  std::vector<std::shared_ptr<PoolState>> buried_pools_;
  std::vector<Question> questions_;
  std::condition_variable asked_;  // a question has come, or the broker quits
  std::thread answering_;
  std::set<std::string> creating_;        // pools and queues that are being made: "queue 'q'"
  std::map<int, WatchedRunner> runners_;  // by device
  std::map<std::string, std::shared_ptr<PoolState>> pools_;
  std::map<std::string, QueueEntry> queues_;
  Closer closer_;
  std::vector<std::unique_ptr<ClientState>> clients_;
  std::vector<LateWriter> late_writers_;
  std::vector<Quarantine> quarantines_;
  bool checking_ = false;  // by `check_`
  std::thread check_;
  std::shared_ptr<RunnerLink> checked_;  // that `check_` has asked, and waits for
  Fd listener_;
  Fd epoll_;
  Fd quit_;
  DescriptorReserve reserve_;
  std::uint64_t accept_again_ns_ = 0;  // 0: the listener is watched
  std::uint64_t complained_at_ns_ = 0;
  std::uint64_t complaints_kept_ = 0;  // since then
  std::thread thread_;
};

}  // namespace ipcq::detail
