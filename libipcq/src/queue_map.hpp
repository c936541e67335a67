// A queue's and a pool's segment as this process sees them: created or opened, checked once, then pointers into the
// mapping and a private copy of the configuration. Nothing reads an offset from shared memory after this.
#pragma once

#include <memory>
#include <string>

#include "group.hpp"
#include "ipcq/options.hpp"
#include "pool.hpp"
#include "ring.hpp"
#include "segment.hpp"

namespace ipcq::detail {

class PoolMap {
 public:
  // Bytes of shared memory that a pool of these options takes. Throws UsageError on bad options.
  static std::uint64_t bytes_needed(const std::string& name, const PoolOptions& options);
  static std::unique_ptr<PoolMap> create(const std::string& segment, const std::string& name,
                                         const PoolOptions& options, std::uint64_t generation,
                                         const Segment::Access& access);
  static std::unique_ptr<PoolMap> open(const std::string& segment, std::uint64_t deadline);

  const PoolHeader& config() const noexcept { return config_; }
  const Segment& segment() const noexcept { return segment_; }
  Segment& segment() noexcept { return segment_; }
  const Pool<SharedAtomics>& pool() const noexcept { return pool_; }
  PoolControl& control() const noexcept { return *control_; }
  std::byte* payload(std::uint32_t slot) const noexcept { return payload_ + std::uint64_t{slot} * config_.slot_stride; }

 private:
  PoolMap(Segment segment, const PoolHeader& config);
  Segment segment_;
  PoolHeader config_;
  Pool<SharedAtomics> pool_;
  PoolControl* control_;
  std::byte* payload_;
};

class QueueMap {
 public:
  static std::uint64_t bytes_needed(const std::string& name, const QueueOptions& options, std::uint32_t slots);
  // `slots` of the pool decides the default number of lines.
  static std::unique_ptr<QueueMap> create(const std::string& segment, const std::string& name,
                                          const QueueOptions& options, const PoolHeader& pool, std::uint64_t generation,
                                          const Segment::Access& access);
  static std::unique_ptr<QueueMap> open(const std::string& segment, std::uint64_t deadline);

  const QueueHeader& config() const noexcept { return config_; }
  const Segment& segment() const noexcept { return segment_; }
  Segment& segment() noexcept { return segment_; }
  const Ring<SharedAtomics>& ring() const noexcept { return ring_; }
  QueueControl& control() const noexcept { return *control_; }
  Endpoint& endpoint(std::uint32_t index) const noexcept { return endpoints_[index]; }
  Held* held() const noexcept { return held_; }
  std::uint32_t held_entries() const noexcept { return config_.endpoints * config_.held_per_endpoint; }
  // A member's view of its group; its block of held entries is that of its endpoint.
  GroupMember<SharedAtomics> member(unsigned group, std::uint32_t endpoint, std::uint32_t client) const;
  // Wakes every sleeper of the queue.
  void ring_all_bells() const noexcept;

 private:
  QueueMap(Segment segment, const QueueHeader& config);
  Segment segment_;
  QueueHeader config_;
  Ring<SharedAtomics> ring_;
  QueueControl* control_;
  Endpoint* endpoints_;
  Held* held_;
};

// Whether a message descriptor, in a private copy, refers to what this pool has.
inline bool is_sound(const Descriptor& d, const PoolMap& pool) noexcept {
  if (d.kind == LineKind::inlined) return d.length <= kInlineBytes;
  return d.kind == LineKind::slot && pool.pool().is_payload(d.slot) && d.length <= pool.config().slot_bytes &&
         (d.alias == kNone || pool.pool().is_alias(d.alias));
}

}  // namespace ipcq::detail
