// The queues and pools that a session has mapped. Thread-safe.
//
// A map stays while its queue lives, so that opening an endpoint again neither maps nor pins anything. A queue that has
// ended, as all queues of a device do with their runner, cannot be opened again. Its map, and the pinned memory and GPU
// memory kept with it, are dropped when the session's last endpoint of the queue closes. Otherwise each death of a
// runner would leave the old pool mapped, and the new pool might find no room.
//
// Only queue() and pool() wait for an open, which may take a second: an interrupt, the broker's end and the close of
// another endpoint may come meanwhile. Invariant: queue() and pool() return a map only once it is in the lists. So
// ring_all() reaches every thread that sleeps on a map. A thread whose map is entered after ring_all() has read the
// lists observes, before it first sleeps, what the caller of ring_all() had stored before.
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
  // The map of this segment, opened if there is none. Throw as QueueMap::open().
  std::shared_ptr<QueueMap> queue(const std::string& segment);
  std::shared_ptr<PoolMap> pool(const std::string& segment);

  // The endpoint `client` uses both maps from attach() to detach().
  void attach(std::uint32_t client, const QueueMap& queue, const PoolMap& pool);
  void detach(std::uint32_t client) noexcept;

  // Keeps `what` as long as this map of a queue or pool, or until drop_kept().
  void keep_with(const void* map, std::shared_ptr<void> what);
  void drop_kept();

  // Rings every bell of every map.
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
  // Maps that nothing uses any more. They are removed under the mutex and destroyed without it: unmapping gigabytes
  // takes long, and unpinning may wait for a GPU.
  struct Ended {
    std::vector<Mapped<QueueMap>> queues;
    std::vector<Mapped<PoolMap>> pools;
  };
  Ended take_ended();

  template <class Map>
  std::shared_ptr<Map> find(const std::vector<Mapped<Map>>& entries, const std::string& segment);  // null: none
  template <class Map>
  std::shared_ptr<Map> find_or_open(std::vector<Mapped<Map>>& entries, const std::string& segment);

  std::mutex opening_;  // held through an open, so that each segment is mapped once; taken before mutex_
  std::mutex mutex_;    // guards the lists below; never held through an open
  std::vector<Mapped<QueueMap>> queues_;
  std::vector<Mapped<PoolMap>> pools_;
  std::vector<Use> uses_;
};

}  // namespace ipcq::detail
