// RedisEngine: tasks are entries of streams, read as a member of a consumer group. Two connections, which it makes
// anew when they are lost, and a thread that keeps the tasks (stream_keeper.hpp).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "counters.hpp"
#include "redis/connection.hpp"
#include "settings.hpp"
#include "tasks/chores.hpp"
#include "tasks/engine.hpp"
#include "tasks/finisher.hpp"
#include "tasks/held_tasks.hpp"
#include "tasks/keeper.hpp"
#include "tasks/reader.hpp"

namespace ipcq::bridge {

class RedisEngine final : public Engine {
 public:
  // What differs between streams, lists and sorted sets. Both refer to the settings, counters and tasks that they are
  // given.
  struct Kinds {
    std::unique_ptr<Reader> (*reader)(const EngineSettings&, Counters&, HeldTasks&);
    std::unique_ptr<Chores> (*chores)(const EngineSettings&, Counters&, const HeldTasks&);
  };

  // Connects. `wait_for`: how long to wait for a server that is not there. Throws NotFoundError, PermissionError,
  // UsageError (keys that hold something else; a server that is too old).
  RedisEngine(EngineSettings settings, const Kinds& kinds, Counters& counters, Milliseconds wait_for);
  ~RedisEngine() override;

  void step(Room room, std::vector<Task>& tasks) override;
  void finish(std::vector<Outcome>&& outcomes) override { finisher_.add(std::move(outcomes)); }
  std::size_t unfinished() const override { return held_.size(); }
  void stop_reading() override;
  bool has_stopped() const override { return reader_->has_stopped() || (stopping_ && reading_ == nullptr); }
  bool is_dry() const override;
  void add_descriptors(std::vector<pollfd>& descriptors) const override;
  Clock::time_point due() const override;

 private:
  void connect();
  void listen(Connection& connection) const;
  void take_refused();
  void disconnect();
  void lose(const char* why);

  EngineSettings settings_;
  Counters& counters_;
  HeldTasks held_;
  std::unique_ptr<Reader> reader_;
  Finisher finisher_;
  std::unique_ptr<Connection> reading_, finishing_, listening_;  // all or none; listening_ not for streams
  std::unique_ptr<Keeper> keeper_;
  std::vector<Outcome> refused_;  // what was read and is no task; also when the connection is lost then
  Clock::time_point connected_at_{}, told_at_{};
  std::string last_loss_;
  bool stopping_ = false;
  std::optional<Address> moved_;  // where a cluster's node says that the keys are; for the next attempt
  Address connected_to_;
  Milliseconds pause_{0};  // before the next attempt to connect
  Clock::time_point next_connect_{};
};

}  // namespace ipcq::bridge
