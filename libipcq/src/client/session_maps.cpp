#include "client/session_maps.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "protocol/doorbell.hpp"

namespace ipcq::detail {
namespace {

constexpr auto kOpenBound = std::chrono::seconds(1);

template <class Entries>
auto find_segment(Entries& entries, const std::string& segment) {
  return std::find_if(entries.begin(), entries.end(),
                      [&](const auto& e) { return e.map->segment().name() == segment; });
}

// Removes the entries for which `is_ended` holds, and returns them.
template <class Entries, class IsEnded>
Entries take_if(Entries& from, IsEnded is_ended) {
  const auto first = std::stable_partition(from.begin(), from.end(), [&](const auto& e) { return !is_ended(e); });
  Entries taken(std::make_move_iterator(first), std::make_move_iterator(from.end()));
  from.erase(first, from.end());
  return taken;
}

}  // namespace

SessionMaps::Ended SessionMaps::take_ended() {
  Ended ended;
  ended.queues = take_if(queues_, [this](const Mapped<QueueMap>& q) {
    return q.map->is_closed() &&
           std::none_of(uses_.begin(), uses_.end(), [&](const Use& u) { return u.queue == q.map.get(); });
  });
  // A pool has no state of its own: it stays while an endpoint uses it or a mapped queue has it.
  ended.pools = take_if(pools_, [this](const Mapped<PoolMap>& p) {
    const std::uint64_t generation = p.map->config().segment.generation;
    return std::none_of(uses_.begin(), uses_.end(), [&](const Use& u) { return u.pool == p.map.get(); }) &&
           std::none_of(queues_.begin(), queues_.end(),
                        [&](const auto& q) { return q.map->config().pool_generation == generation; });
  });
  return ended;
}

template <class Map>
std::shared_ptr<Map> SessionMaps::find(const std::vector<Mapped<Map>>& entries, const std::string& segment) {
  const std::scoped_lock lock(mutex_);
  const auto it = find_segment(entries, segment);
  return it != entries.end() ? it->map : nullptr;
}

template <class Map>
std::shared_ptr<Map> SessionMaps::find_or_open(std::vector<Mapped<Map>>& entries, const std::string& segment) {
  if (auto map = find(entries, segment)) return map;
  const std::scoped_lock opening(opening_);
  if (auto map = find(entries, segment)) return map;  // another thread has opened it meanwhile
  std::shared_ptr<Map> map = Map::open(segment, deadline_after(kOpenBound));
  const std::scoped_lock lock(mutex_);
  entries.push_back({map, {}});
  return map;
}

std::shared_ptr<QueueMap> SessionMaps::queue(const std::string& segment) {
  Ended ended;  // destroyed after the mutex is unlocked
  {
    const std::scoped_lock lock(mutex_);
    ended = take_ended();
  }
  return find_or_open(queues_, segment);
}

std::shared_ptr<PoolMap> SessionMaps::pool(const std::string& segment) { return find_or_open(pools_, segment); }

void SessionMaps::attach(std::uint32_t client, const QueueMap& queue, const PoolMap& pool) {
  const std::scoped_lock lock(mutex_);
  uses_.push_back({client, &queue, &pool});
}

void SessionMaps::detach(std::uint32_t client) noexcept {
  Ended ended;
  const std::scoped_lock lock(mutex_);
  std::erase_if(uses_, [&](const Use& u) { return u.client == client; });
  ended = take_ended();
}

void SessionMaps::keep_with(const void* map, std::shared_ptr<void> what) {
  const std::scoped_lock lock(mutex_);
  const auto keep = [&](auto& entries) {
    for (auto& e : entries) {
      if (e.map.get() != map) continue;
      if (std::find(e.kept.begin(), e.kept.end(), what) == e.kept.end()) e.kept.push_back(what);
    }
  };
  keep(queues_);
  keep(pools_);
}

void SessionMaps::drop_kept() {
  std::vector<std::shared_ptr<void>> dropped;
  const std::scoped_lock lock(mutex_);
  const auto drop = [&](auto& entries) {
    for (auto& e : entries) {
      std::move(e.kept.begin(), e.kept.end(), std::back_inserter(dropped));
      e.kept.clear();
    }
  };
  drop(queues_);
  drop(pools_);
}

void SessionMaps::ring_all() noexcept {
  const std::scoped_lock lock(mutex_);
  for (const auto& q : queues_) q.map->ring_all_bells();
  for (const auto& p : pools_) ring_always(p.map->control().free);
}

}  // namespace ipcq::detail
