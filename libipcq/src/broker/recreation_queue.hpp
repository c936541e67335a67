// What a broker is to create anew after a runner died, in the order in which that can work: pools, queues with a pool
// of their own, queues that share one (maybe another queue's). What dies again meanwhile joins in at its place. One
// that fails is tried again after a while, and holds up only those that need it. A queue that shares a pool is given up
// for good only with that pool. Not thread-safe.
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
  enum class Kind { pool, queue, sharing };
  Kind kind = Kind::pool;
  std::string name;
  std::string pool;              // that a sharing queue needs
  std::function<void()> create;  // throws UsageError when it can never work
  bool patient = false;          // it may depend on others' processes to end: never given up for taking long
  std::uint64_t number = 0;      // set by add(): no other has had it

  std::string object() const { return (kind == Kind::pool ? "pool '" : "queue '") + name + "'"; }
};

class RecreationQueue {
 public:
  // How long creation is tried after it has failed, and how often; of a sharing queue, while its pool is there.
  static constexpr std::uint64_t kPatienceNs = 60'000'000'000;
  static constexpr std::uint64_t kRetryEveryNs = 250'000'000;

  bool awaits_queue(const std::string& name) const;
  bool awaits_pool(const std::string& name) const;  // also a queue's own
  bool empty() const noexcept { return waiting_.empty(); }
  // Whatever waits under this name is replaced.
  void add(Recreation recreation);
  // What is to be tried now, if anything. A copy: others may be added before its fate is told, also in its place, when
  // what was just created has died already. It stays until then; one in its place stays for good.
  std::optional<Recreation> next(std::uint64_t now) const;
  void succeeded(const Recreation& recreation);
  // It could not be created, because of `why`; `final`: it never will be. Returns what is to be logged about those that
  // are given up: nothing when it is to be tried again, but for a patient one once, when it has taken long.
  std::vector<std::string> failed(const Recreation& recreation, const std::string& why, bool final, std::uint64_t now);

 private:
  struct Waiting {
    Recreation recreation;
    std::uint64_t give_up = 0;  // 0: has not failed yet
    std::uint64_t not_before = 0;
    bool told = false;  // that it takes long
  };
  using Key = std::pair<Recreation::Kind, std::string>;

  static Key key(const Recreation& r) { return {r.kind, r.name}; }

  std::uint64_t last_number_ = 0;
  std::map<Key, Waiting> waiting_;
};

}  // namespace ipcq::detail
