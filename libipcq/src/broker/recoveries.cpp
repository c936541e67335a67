#include "broker/recoveries.hpp"

#include <iterator>
#include <utility>

namespace ipcq::detail {

using Kind = Recovery::Kind;

void Recoveries::add(Recovery recovery) {
  Key k = key(recovery);
  waiting_.insert_or_assign(std::move(k), Waiting{std::move(recovery)});
}

std::optional<Recovery> Recoveries::next(std::uint64_t now) const {
  for (const auto& [k, w] : waiting_) {
    const bool can_work = w.recovery.kind != Kind::sharing || !awaits_pool(w.recovery.pool);
    if (can_work && w.not_before <= now) return w.recovery;
  }
  return {};
}

bool Recoveries::awaits_queue(const std::string& name) const {
  return waiting_.count({Kind::queue, name}) != 0 || waiting_.count({Kind::sharing, name}) != 0;
}

// A pool of its own comes with its queue.
bool Recoveries::awaits_pool(const std::string& name) const {
  return waiting_.count({Kind::pool, name}) != 0 || waiting_.count({Kind::queue, name}) != 0;
}

void Recoveries::succeeded(const Recovery& recovery) {
  waiting_.erase(key(recovery));
  if (recovery.kind == Kind::sharing) return;
  for (auto& [k, w] : waiting_) {
    if (w.recovery.kind == Kind::sharing && w.recovery.pool == recovery.name) w.give_up = 0;
  }
}

std::vector<std::string> Recoveries::failed(const Recovery& recovery, const std::string& why, bool final,
                                            std::uint64_t now) {
  const auto it = waiting_.find(key(recovery));
  if (it == waiting_.end()) return {};
  const bool sharing = recovery.kind == Kind::sharing;
  if (sharing && awaits_pool(recovery.pool)) return {};  // lost again meanwhile: that is before it in the order
  Waiting& waiting = it->second;
  if (waiting.give_up == 0) waiting.give_up = now + kPatienceNs;
  const bool late = now >= waiting.give_up;
  if (!final && (!late || waiting.recovery.patient)) {
    waiting.not_before = now + kRetryEveryNs;
    if (!late || std::exchange(waiting.told, true)) return {};
    return {recovery.object() + ": cannot be created anew yet, and is tried on: " + why};
  }
  std::vector<std::string> gone = {recovery.object() + ": cannot be created anew, and is gone: " + why};
  waiting_.erase(it);
  for (auto w = waiting_.begin(); !sharing && w != waiting_.end();) {
    const Recovery& r = w->second.recovery;
    const bool needs_it = r.kind == Kind::sharing && r.pool == recovery.name;
    if (needs_it) gone.push_back(r.object() + ": is gone with pool '" + r.pool + "', which cannot be created anew");
    w = needs_it ? waiting_.erase(w) : std::next(w);
  }
  return gone;
}

}  // namespace ipcq::detail
