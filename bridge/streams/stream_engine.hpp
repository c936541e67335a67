// StreamEngine: tasks are entries of streams, read as a member of a consumer group. Two connections, which it makes
// anew when they are lost, and a thread that keeps the tasks (stream_keeper.hpp).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "counters.hpp"
#include "engine.hpp"
#include "redis/connection.hpp"
#include "settings.hpp"
#include "streams/held_tasks.hpp"
#include "streams/stream_finisher.hpp"
#include "streams/stream_keeper.hpp"
#include "streams/stream_reader.hpp"

namespace ipcq::bridge {

class StreamEngine final : public Engine {
 public:
  // Connects. `wait_for`: how long to wait for a server that is not there. Throws NotFoundError, PermissionError,
  // UsageError (keys that are no streams; a server that is too old).
  StreamEngine(EngineSettings settings, Counters& counters, Milliseconds wait_for);
  ~StreamEngine() override;

  void step(std::size_t room, std::vector<Task>& tasks) override;
  void finish(std::vector<Outcome>&& outcomes) override { finisher_.add(std::move(outcomes)); }
  std::size_t unfinished() const override { return held_.size(); }
  void stop_reading() override;
  bool has_stopped() const override { return reader_.has_stopped() || (stopping_ && reading_ == nullptr); }
  bool is_dry() const override { return reader_.is_dry() && !keeper_->has_delayed(); }
  void add_descriptors(std::vector<pollfd>& descriptors) const override;
  Clock::time_point due() const override;

 private:
  void connect();
  void refuse_wrong_keys();
  void lose(const char* why);

  EngineSettings settings_;
  Counters& counters_;
  HeldTasks held_;
  StreamReader reader_;
  StreamFinisher finisher_;
  std::unique_ptr<Connection> reading_, finishing_;  // both or none
  std::unique_ptr<StreamKeeper> keeper_;
  bool stopping_ = false;
  Milliseconds pause_{0};  // before the next attempt to connect
  Clock::time_point next_connect_{};
};

}  // namespace ipcq::bridge
