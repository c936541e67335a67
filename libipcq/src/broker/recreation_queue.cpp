#include "broker/recreation_queue.hpp"

#include <iterator>
#include <utility>

namespace ipcq::detail {

using Kind = Recreation::Kind;

std::string RecreationQueue::awaiting(const std::string& pool) const {
  for (const auto& [key, w] : waiting_) {
    if (key.first == Recreation::Kind::sharing && w.recreation.pool == pool) return key.second;
  }
  return {};
}

void RecreationQueue::add(Recreation recreation) {
  recreation.number = ++last_number_;
  Key k = key(recreation);
  const std::uint64_t not_before = recreation.not_before;
  waiting_.insert_or_assign(std::move(k), Waiting{.recreation = std::move(recreation), .not_before = not_before});
}

std::optional<Recreation> RecreationQueue::next(std::uint64_t now) const {
  for (const auto& [k, w] : waiting_) {
    const bool can_work = w.recreation.kind != Kind::sharing || !awaits_pool(w.recreation.pool);
    if (can_work && w.not_before <= now) return w.recreation;
  }
  return {};
}

bool RecreationQueue::awaits_queue(const std::string& name) const {
  return waiting_.count({Kind::queue, name}) != 0 || waiting_.count({Kind::sharing, name}) != 0;
}

// A queue's own pool has the queue's name, and is created with it.
bool RecreationQueue::awaits_pool(const std::string& name) const {
  return waiting_.count({Kind::pool, name}) != 0 || waiting_.count({Kind::queue, name}) != 0;
}

void RecreationQueue::succeeded(const Recreation& recreation) {
  const auto it = waiting_.find(key(recreation));
  if (it == waiting_.end() || it->second.recreation.number != recreation.number) return;
  waiting_.erase(it);
  if (recreation.kind == Kind::sharing || recreation.kind == Kind::executor) return;
  for (auto& [k, w] : waiting_) {
    if (w.recreation.kind == Kind::sharing && w.recreation.pool == recreation.name) w.give_up = 0;
  }
}

std::vector<std::string> RecreationQueue::failed(const Recreation& recreation, const std::string& why, bool final,
                                                 std::uint64_t now) {
  const auto it = waiting_.find(key(recreation));
  if (it == waiting_.end() || it->second.recreation.number != recreation.number) return {};
  const bool sharing = recreation.kind == Kind::sharing;
  if (sharing && awaits_pool(recreation.pool)) return {};  // lost again meanwhile: that is before it in the order
  Waiting& waiting = it->second;
  if (waiting.give_up == 0) waiting.give_up = now + kPatienceNs;
  const bool late = now >= waiting.give_up;
  if (!final && (!late || waiting.recreation.patient)) {
    waiting.not_before = now + kRetryEveryNs;
    if (!late || std::exchange(waiting.told, true)) return {};
    const char* const what = recreation.kind == Kind::executor ? ": its handler cannot run again yet, and is tried on: "
                                                               : ": cannot be created anew yet, and is tried on: ";
    return {recreation.object() + what + why};
  }
  std::vector<std::string> gone = {recreation.object() + ": cannot be created anew, and is gone: " + why};
  waiting_.erase(it);
  const bool was_a_pool = recreation.kind == Kind::pool || recreation.kind == Kind::queue;
  for (auto w = waiting_.begin(); was_a_pool && w != waiting_.end();) {
    const Recreation& r = w->second.recreation;
    const bool needs_it = r.kind == Kind::sharing && r.pool == recreation.name;
    if (needs_it) gone.push_back(r.object() + ": is gone with pool '" + r.pool + "', which cannot be created anew");
    w = needs_it ? waiting_.erase(w) : std::next(w);
  }
  return gone;
}

}  // namespace ipcq::detail
