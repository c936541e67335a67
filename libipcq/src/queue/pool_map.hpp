// The segment of a pool, as mapped in this process, with the rules of queue_map.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "ipcq/export.hpp"
#include "ipcq/options.hpp"
#include "ipcq/status.hpp"
#include "layout/line.hpp"
#include "layout/slot_metadata.hpp"
#include "protocol/pool.hpp"
#include "queue/segment.hpp"

namespace ipcq::detail {

class PoolMap {
 public:
  // Options of the pool that a queue without a shared pool gets. `options.backend` is not "auto" any more.
  static PoolOptions of_queue(const QueueOptions& options);
  // The header of a pool with these options. Throws UsageError, which names the object: the queue, for its own pool.
  static PoolHeader planned(const std::string& object, const PoolOptions& options);
  // As ipcq::memory_needs(). `object` names the object in errors, such as "queue 'q'".
  static MemoryNeeds needs(const std::string& object, const PoolOptions& options);
  // Both throw as Segment does. `device`: the payloads in device memory; null for a host pool. `deadline` in ns of
  // now_ns().
  static std::unique_ptr<PoolMap> create(const std::string& segment, const std::string& name,
                                         const PoolOptions& options, const DeviceMemory* device,
                                         std::uint64_t generation, const Segment::Access& access);
  static std::unique_ptr<PoolMap> open(const std::string& segment, std::uint64_t deadline);

  const PoolHeader& config() const noexcept { return config_; }
  const Segment& segment() const noexcept { return segment_; }
  Segment& segment() noexcept { return segment_; }
  const Pool<SharedAtomics>& pool() const noexcept { return pool_; }
  PoolControl& control() const noexcept { return *control_; }
  bool on_device() const noexcept { return config_.backend == static_cast<std::uint32_t>(PoolBackend::cuda); }
  // Whether the CPU can access payloads: in a host pool, or in a device pool with a mirror.
  bool has_host_payloads() const noexcept { return config_.payload_bytes != 0; }
  // The payload of a host pool, or the mirror of a device pool's; null without a mirror.
  std::byte* payload(std::uint32_t slot) const noexcept {
    return has_host_payloads() ? payload_ + std::uint64_t{slot} * config_.slot_stride : nullptr;
  }
  // Of a message in that slot under that lease: the metadata that its loaner gave it; empty: none.
  std::span<const std::byte> metadata(std::uint32_t slot, std::uint64_t lease) const noexcept;
  // Gives the message that the loan becomes metadata. For who has it. Statuses: ok; too_large.
  IPCQ_INTERNAL_API Status give_metadata(const SlotLoan& loan, std::span<const std::byte> bytes) const noexcept;
  Word& gpub(std::uint32_t slot) const noexcept { return gpub_[slot]; }
  Word& tomb(std::uint32_t slot) const noexcept { return tomb_[slot]; }

 private:
  PoolMap(Segment segment, const PoolHeader& config);
  Segment segment_;
  PoolHeader config_;
  Pool<SharedAtomics> pool_;
  PoolControl* control_;
  SlotMetadata& metadata_of(std::uint32_t slot) const noexcept {
    return *reinterpret_cast<SlotMetadata*>(metadata_ + slot * metadata_stride(config_.metadata_bytes));
  }
  std::byte* payload_;
  std::byte* metadata_;
  Word* gpub_;
  Word* tomb_;
};

// The half of is_sound() for a message in a slot.
inline bool is_sound_in_slot(std::uint32_t slot, std::uint32_t alias, std::uint64_t length,
                             const PoolMap& pool) noexcept {
  return pool.pool().is_payload(slot) && length <= pool.config().slot_bytes &&
         (alias == kNone || pool.pool().is_alias(alias));
}

// Whether the payload is complete. A message may be published before its payload, which a stream then still writes.
inline bool is_written(const Descriptor& d, const PoolMap& pool) noexcept {
  if (d.kind != LineKind::slot || (d.flags & kPayloadReady) != 0 || !pool.pool().is_payload(d.slot)) return true;
  // SYNC gpub (acquire, system): the caller observes the payload, or the tomb. Pairs with: the loaner's stream,
  // bury_payload.
  return pool.gpub(d.slot).load(std::memory_order_acquire) >= d.lease;
}

// Whether the payload will never be complete: the slot's tomb word has reached the lease. A later lease's tomb says the
// same: the slot was lent again only because this message was over.
inline bool is_buried(const Descriptor& d, const PoolMap& pool) noexcept {
  return d.kind == LineKind::slot && pool.pool().is_payload(d.slot) &&
         pool.tomb(d.slot).load(std::memory_order_acquire) >= d.lease;
}

}  // namespace ipcq::detail
