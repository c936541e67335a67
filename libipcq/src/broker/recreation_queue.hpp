// What a broker has to create anew after a runner died, in the order in which that can work: pools, queues with a pool
// of their own, queues that share one (maybe another queue's), executors of queues that are still there. An entry that
// fails is tried again after a while, and delays only those that need it.
//
// Thread safety: guarded by the broker's mutex. Invariant: a queue that shares a pool is not tried before that pool is
// there; it is given up with the pool, and its own time to be given up runs only while the pool is there.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ipcq::detail {

struct Recreation {
  enum class Kind { pool, queue, sharing, executor };
  Kind kind = Kind::pool;
  std::string name;
  std::string pool;              // the pool that a sharing queue needs
  std::function<void()> create;  // throws UsageError when it can never work
  bool patient = false;          // it may have to wait until other processes end: never given up for taking long
  std::uint64_t not_before = 0;  // in ns of now_ns()
  std::uint64_t number = 0;      // set by add(): no other has had it

  std::string object() const { return (kind == Kind::pool ? "pool '" : "queue '") + name + "'"; }
};

class RecreationQueue {
 public:
  // How long a creation is tried again after its first failure, and how often.
  static constexpr std::uint64_t kPatienceNs = 60'000'000'000;
  static constexpr std::uint64_t kRetryEveryNs = 250'000'000;

  bool awaits_queue(const std::string& name) const;
  bool awaits_pool(const std::string& name) const;  // also a queue's own
  // A queue that needs the pool; empty: none.
  std::string awaiting(const std::string& pool) const;
  bool empty() const noexcept { return waiting_.empty(); }
  // Replaces the entry of the same kind and name.
  void add(Recreation recreation);
  // A copy of the entry to try now, if any. The entry stays until succeeded() or failed() is called with the copy. If
  // what was created has died already, add() has replaced the entry by then: that call leaves the new one alone.
  std::optional<Recreation> next(std::uint64_t now) const;
  void succeeded(const Recreation& recreation);
  // Its creation failed because of `why`; `final`: it can never succeed. Returns lines for the log: one for each entry
  // that is given up, and one, once, for a patient entry that takes long. Nothing if it will be tried again.
  std::vector<std::string> failed(const Recreation& recreation, const std::string& why, bool final, std::uint64_t now);

 private:
  struct Waiting {
    Recreation recreation;
    std::uint64_t give_up = 0;  // the time after which it is given up; 0: it has not failed yet
    std::uint64_t not_before = 0;
    bool told = false;  // the log has said that it takes long
  };
  using Key = std::pair<Recreation::Kind, std::string>;

  static Key key(const Recreation& r) { return {r.kind, r.name}; }

  std::uint64_t last_number_ = 0;
  std::map<Key, Waiting> waiting_;
};

}  // namespace ipcq::detail
