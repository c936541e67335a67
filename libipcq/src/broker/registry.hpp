// The pools and queues of one broker, by name.
//
// Creation has three steps. Under the mutex the options are checked and the names reserved. Then everything is built
// without the mutex: a runner is started, memory reserved, an executor started. At last, under the mutex, it is
// committed, if all that it needs is still there. What was built and is not committed is destroyed without the mutex.
// Removal goes the other way: what may go is taken out under the mutex, and ended without it.
//
// Thread safety: guarded by the broker's mutex; only functions that say "without the mutex" lock it by themselves.
// Invariant: a name is in `reserved_` from the check until after the commit, or the removal, so no two threads build or
// remove the same.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/broker_context.hpp"
#include "broker/client_ids.hpp"
#include "broker/pool_entry.hpp"
#include "broker/queue_entry.hpp"
#include "broker/runner_supervisor.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {

inline std::string object_of_pool(const std::string& name) { return "pool '" + name + "'"; }
inline std::string object_of_queue(const std::string& name) { return "queue '" + name + "'"; }

inline std::uint64_t bytes_of(const MemoryNeeds& needs) { return needs.shared_memory + needs.device_memory; }
// The names in a map, for an error; "none".
template <class Map>
std::string names_in(const Map& map) {
  std::string names;
  for (const auto& [name, entry] : map) names += (names.empty() ? "" : ", ") + name;
  return names.empty() ? "none" : names;
}

// What all queues and pools may be together, for who creates another. 0: any.
struct Limits {
  std::uint32_t queues = 0;
  std::uint64_t bytes = 0;  // in /dev/shm and on GPUs
};

// What is being created or removed.
struct Reserved {
  std::uint64_t bytes = 0;  // of memory that it will take
  bool is_queue = false;
  std::string pool{};     // the pool that it shares
  bool is_there = false;  // committed: it counts with what there is
};

class Registry final : public RunnerUser {
 public:
  using Pools = std::map<std::string, std::shared_ptr<PoolEntry>>;
  using Queues = std::map<std::string, QueueEntry>;

  Registry(BrokerContext& context, RunnerSupervisor& supervisor);
  ~Registry() = default;
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Without the mutex. Throw UsageError, BackendError, SystemError.
  void create_pool(const std::string& name, const PoolOptions& options, const Limits& limits = {});
  // Returns the image of its handler, if that is the user's.
  std::shared_ptr<const HandlerImage> create_queue(const std::string& name, const QueueOptions& options,
                                                   const Limits& limits = {});

  // Without the mutex (registry_removal.cpp). Returns how many messages were left. Throw NotFoundError; UsageError: it
  // is in use.
  std::uint64_t remove_queue(const std::string& name, Removal how);
  void remove_pool(const std::string& name);

  // Without the mutex. Compiles the handler that the options name, for a queue that lies there. Throws as
  // compile_handler(); BackendError: there is no such runner.
  std::shared_ptr<const HandlerImage> image_for(const std::string& object, const QueueOptions& options,
                                                const RunnerKey& gpu, const Making& making);

  // Throws NotFoundError, which lists the queues that there are.
  QueueEntry& find(const std::string& queue);
  const QueueEntry& find(const std::string& queue) const;
  // Whether a queue that find() does not know is being created anew.
  bool comes_back(const std::string& queue) const;
  // The queue of that name and generation; null when it has gone.
  QueueEntry* find_generation(const std::string& queue, std::uint64_t generation);
  Pools& pools() noexcept { return pools_; }
  const Pools& pools() const noexcept { return pools_; }
  Queues& queues() noexcept { return queues_; }
  const Queues& queues() const noexcept { return queues_; }
  // The ids of the endpoints of all queues.
  ClientIds& ids() noexcept { return ids_; }
  // Whether some creation or removal is under way.
  bool is_creating() const noexcept { return !reserved_.empty(); }

  // Called by the control thread: a runner answers no more; its process has ended.
  void on_runner_lost(const RunnerKey& key) override;
  Aftermath on_runner_gone(const GoneRunner& runner) override;

 private:
  // The name of that. Constructed and committed with the mutex held, destroyed without it. Nobody else creates or
  // removes what has the name meanwhile, and stop() waits for it.
  class Reservation {
   public:
    Reservation(Registry& registry, std::string object, Reserved what = {})
        : registry_(registry), object_(std::move(object)) {
      if (registry_.reserved_.emplace(object_, std::move(what)).second) return;
      throw UsageError(object_ + ": is being created or removed already; try again");
    }
    ~Reservation() {
      const Lock lock(registry_.context_.mutex);
      registry_.reserved_.erase(object_);
      registry_.context_.changed.notify_all();
    }
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;
    void commit() { registry_.reserved_.at(object_).is_there = true; }

   private:
    Registry& registry_;
    std::string object_;
  };
  class OwnRunner;
  // The caller: a user, for whom a name that is being created anew is taken, or the supervisor.
  enum class By : std::uint8_t { user, supervisor };
  // What outlives a queue that is lost with its runner.
  struct Lasting {
    std::shared_ptr<const HandlerImage> image;  // null: to be compiled, if its handler is the user's
    std::shared_ptr<const KeptState> state;     // null: as the options say
    bool draining = false;
    std::uint64_t birth = 0;  // QueueEntry's; 0: it is born
  };
  struct QueuePlan {
    std::string name;
    QueueOptions options;
    std::shared_ptr<PoolEntry> shared;  // the pool that it shares; null: it has its own
    Lasting lasting;
    std::uint64_t pool_generation = 0;
    std::uint64_t generation = 0;
  };

  void add_pool(const std::string& name, const PoolOptions& options, By by, const Limits& limits = {});
  std::shared_ptr<const HandlerImage> add_queue(const std::string& name, const QueueOptions& options, By by,
                                                Lasting lasting, const Limits& limits = {});
  // The bytes that the options need at most: `auto` may choose the GPU.
  std::uint64_t bytes_for(const std::string& name, const QueueOptions& options) const;
  // Throws UsageError where it is too much.
  void check_limits(const std::string& object, const Limits& limits, const Reserved& coming) const;
  void check_not_reserved(const std::string& object) const;
  void check_new_pool(const std::string& name, const PoolOptions& options, By by) const;
  void check_new_queue(const std::string& name, const QueueOptions& options, By by) const;
  // `only_for`: as of PoolEntry.
  std::shared_ptr<PoolEntry> build_pool(const std::string& name, const PoolOptions& options, std::uint64_t generation,
                                        const std::string& only_for = {});
  QueueEntry build_queue(const QueuePlan& plan);
  void start_executor(QueueEntry& q, QueueMap::Executed executed);
  // "host" or "cuda" for a queue that may have left it open. Only a BackendError, which says that the GPU cannot be
  // used, makes `auto` host. A shortage of this process (SystemError) fails the creation: it may pass, and must not
  // decide for the queue's whole life.
  std::string choose_backend(const QueuePlan& plan);
  void commit_pool(const std::shared_ptr<PoolEntry>& pool);
  void commit_queue(QueueEntry& q);

  // registry_removal.cpp
  void check_removable(const QueueEntry& q, Removal how) const;
  void check_no_forwarded(const QueueEntry& q, bool may_be_used) const;
  void free_forwarded(const QueueEntry& q) const;
  bool shares_its_pool(const QueueEntry& q) const;
  // Throws UsageError where a queue in that pool is being created, or created anew.
  void check_not_awaited(const std::string& object, const std::string& pool) const;

  // registry_losses.cpp
  std::vector<QueueEntry> take_queues_of(const RunnerKey& key);
  std::vector<std::shared_ptr<PoolEntry>> take_pools_of(const RunnerKey& key, const std::vector<QueueEntry>& ended);

  Aftermath on_host_runner_gone(const GoneRunner& runner);
  // Lets a queue's handler go on in the next host runner of that key, with the ticket `first`. Throws BackendError.
  void give_up(const std::string& name, std::uint64_t generation, PendingHandler& pending);
  void restart_executor(const RunnerKey& key, const std::string& name, std::uint64_t generation, std::uint64_t first);
  bool is_there(const std::string& queue, std::uint64_t generation);  // without the mutex
  // Without the mutex. Ends the runner that was started for a queue alone, if that has been removed meanwhile.
  void dismiss_if_removed(const RunnerKey& key);

  BrokerContext& context_;
  RunnerSupervisor& supervisor_;
  std::map<std::string, Reserved> reserved_;  // "queue 'q'", "pool 'p'"
  Pools pools_;
  Queues queues_;
  ClientIds ids_;
};

}  // namespace ipcq::detail
