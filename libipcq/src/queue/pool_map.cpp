#include "queue/pool_map.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "protocol/doorbell.hpp"
#include "queue/map_header.hpp"

namespace ipcq::detail {
namespace {

constexpr std::uint32_t kManyAliases = 1u << 16;

// An IPC handle exports a whole 2 MiB block, so no block is shared between pools.
std::uint64_t device_bytes(const PoolHeader& h) {
  constexpr std::uint64_t kDeviceBlock = std::uint64_t{2} << 20;
  return (h.slots * h.slot_stride + kDeviceBlock - 1) / kDeviceBlock * kDeviceBlock;
}

}  // namespace

PoolOptions PoolMap::of_queue(const QueueOptions& o) {
  return {.slots = o.slots,
          .size = o.size,
          .backend = o.backend == "cuda" && o.slots != 0 ? "cuda" : "host",
          .device = o.device,
          .mirror = o.mirror,
          .metadata = o.metadata};
}

PoolHeader PoolMap::planned(const std::string& object, const PoolOptions& o) {
  check_range(object, "slots", o.slots, 0, kMaxSlots);
  check_range(object, "size", o.size, 1, kMaxSlotBytes);
  check_range(object, "metadata", o.metadata, 0, kMostMetadataBytes);
  PoolHeader h{};
  h.segment.magic = kPoolMagic;
  h.slots = o.slots;
  // Eight per slot: a slot can be forwarded eight times while earlier readers still hold it, so that consecutive stages
  // that forward do not wait for each other's aliases. Large pools have fewer per slot: not all of their slots are
  // forwarded at once.
  h.aliases = std::max(o.slots, std::min(8 * o.slots, kManyAliases));
  h.slot_bytes = o.size;
  h.metadata_bytes = o.metadata;
  if (o.backend == "cuda") {
    h.backend = static_cast<std::uint32_t>(PoolBackend::cuda);
    h.mirror = static_cast<std::uint32_t>(o.mirror);
  }
  lay_out(h);
  return h;
}

MemoryNeeds PoolMap::needs(const std::string& object, const PoolOptions& options) {
  const PoolHeader h = planned(object, options);
  MemoryNeeds n;
  n.shared_memory = h.segment.total_bytes;
  if (h.backend == static_cast<std::uint32_t>(PoolBackend::cuda)) {
    n.device_memory = device_bytes(h);
    n.pinned = h.segment.total_bytes - h.gpub_offset;
  }
  return n;
}

std::unique_ptr<PoolMap> PoolMap::create(const std::string& segment, const std::string& name,
                                         const PoolOptions& options, const DeviceMemory* device,
                                         std::uint64_t generation, const Segment::Access& access) {
  PoolHeader h = planned("pool '" + name + "'", options);
  copy_name(h.segment.name, name);
  if (device != nullptr) h.device = *device;
  h.segment.generation = generation;
  h.segment.broker_pid = getpid();
  Segment s = Segment::create(segment, h.segment.total_bytes, access);
  std::unique_ptr<PoolMap> map(new PoolMap(std::move(s), h));
  init(map->control_->free);
  map->pool_.restore_free_bits();
  publish_header(map->segment_, h);
  return map;
}

std::unique_ptr<PoolMap> PoolMap::open(const std::string& segment, std::uint64_t deadline) {
  Segment s = Segment::open(segment, kPoolMagic, deadline);
  const PoolHeader config = checked_layout(s, checked_header<PoolHeader>(s));
  return std::unique_ptr<PoolMap>(new PoolMap(std::move(s), config));
}

PoolMap::PoolMap(Segment segment, const PoolHeader& config) : segment_(std::move(segment)), config_(config) {
  control_ = at<PoolControl>(segment_, config.control_offset);
  payload_ = at<std::byte>(segment_, config.payload_offset);
  metadata_ = at<std::byte>(segment_, config.metadata_offset);
  gpub_ = at<Word>(segment_, config.gpub_offset);
  tomb_ = at<Word>(segment_, config.tomb_offset);
  PoolWords<SharedAtomics> w;
  w.slots = at<Wide>(segment_, config.slots_offset);
  w.free_bits = at<Word>(segment_, config.free_bits_offset);
  w.parents = at<AliasParent>(segment_, config.parents_offset);
  w.payload_slots = config.slots;
  w.alias_base = config.alias_base;
  w.aliases = config.aliases;
  pool_ = Pool<SharedAtomics>(w);
}

std::span<const std::byte> PoolMap::metadata(std::uint32_t slot, std::uint64_t lease) const noexcept {
  if (config_.metadata_bytes == 0 || !pool_.is_payload(slot)) return {};
  const SlotMetadata& entry = metadata_of(slot);
  const std::uint32_t length = *static_cast<const volatile std::uint32_t*>(&entry.length);
  if (entry.lease != lease || length > config_.metadata_bytes) return {};
  return {reinterpret_cast<const std::byte*>(&entry + 1), length};
}

Status PoolMap::give_metadata(const SlotLoan& loan, std::span<const std::byte> bytes) const noexcept {
  if (bytes.size() > config_.metadata_bytes) return Status::too_large;
  if (config_.metadata_bytes == 0) return Status::ok;  // none, which it has
  SlotMetadata& entry = metadata_of(loan.slot);
  entry.length = static_cast<std::uint32_t>(bytes.size());
  if (!bytes.empty()) std::memcpy(static_cast<void*>(&entry + 1), bytes.data(), bytes.size());
  entry.lease = loan.lease;
  return Status::ok;
}

}  // namespace ipcq::detail
