// The queues and pools that a session has mapped. Thread-safe.
//
// A map stays while its queue lives, so that opening an endpoint again costs nothing and pins nothing anew. Once the
// queue has ended, as all of a device do with their runner, nobody can open it again: its map goes when the session's
// last endpoint there is closed, and with it what was kept for it (pinned memory, memory of the GPU). Otherwise each
// death of a runner would leave the old pool mapped, and the new one might find no room.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "queue/queue_map.hpp"

namespace ipcq::detail {

class SessionMaps {
 public:
  // What is mapped already, else opened. Throw as QueueMap::open().
  std::shared_ptr<QueueMap> queue(const std::string& segment);
  std::shared_ptr<PoolMap> pool(const std::string& segment);

  // An endpoint uses them, from attach() to detach().
  void attach(std::uint32_t client, const QueueMap& queue, const PoolMap& pool);
  void detach(std::uint32_t client) noexcept;

  // Keeps `what` as long as this map of a queue or pool is here.
  void keep_with(const void* map, std::shared_ptr<void> what);
  void drop_kept();

  // Wakes all that sleep for one of these queues.
  void ring_all() noexcept;

 private:
  template <class Map>
  struct Mapped {
    std::shared_ptr<Map> map;
    std::vector<std::shared_ptr<void>> kept;
  };
  struct Use {
    std::uint32_t client;
    const QueueMap* queue;
    const PoolMap* pool;
  };
  // Taken out under the mutex, to be destroyed without it: unmapping gigabytes takes its time, and unpinning may wait
  // for a GPU.
  struct Ended {
    std::vector<Mapped<QueueMap>> queues;
    std::vector<Mapped<PoolMap>> pools;
  };
  Ended take_ended();

  std::mutex mutex_;
  std::vector<Mapped<QueueMap>> queues_;
  std::vector<Mapped<PoolMap>> pools_;
  std::vector<Use> uses_;
};

}  // namespace ipcq::detail
