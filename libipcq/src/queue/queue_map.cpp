#include "queue/queue_map.hpp"

#include <unistd.h>

#include <bit>
#include <cstring>
#include <utility>

#include "ipcq/builtin_handlers.hpp"
#include "ipcq/error.hpp"
#include "layout/handler_text.hpp"
#include "layout/held.hpp"
#include "layout/regions.hpp"
#include "protocol/doorbell.hpp"

namespace ipcq::detail {
namespace {

template <std::size_t N>
void copy_name(char (&to)[N], const std::string& from) {
  std::memset(to, 0, N);
  std::memcpy(to, from.data(), std::min(from.size(), N - 1));
}

template <class Header>
Header checked_layout(const Segment& segment, const Header& copy) {
  const bool possible = has_possible_counts(copy);
  Header expected = copy;
  if (possible) lay_out(expected);
  if (!possible || std::memcmp(&expected, &copy, sizeof copy) != 0) {
    throw LayoutError("segment " + segment.name() +
                      ": damaged: its counts and offsets contradict each other; restart "
                      "its broker");
  }
  return copy;
}

void check_range(const std::string& object, const char* what, std::uint64_t value, std::uint64_t low,
                 std::uint64_t high) {
  if (value < low || value > high) {
    throw UsageError(object + ": " + what + " is " + std::to_string(value) + "; allowed are " + std::to_string(low) +
                     " to " + std::to_string(high));
  }
}

constexpr std::uint32_t kManyAliases = 1u << 16;

// `object` names the object in errors: the queue, for a queue's own pool.
PoolHeader header_for(const std::string& object, const std::string& name, const PoolOptions& o) {
  check_range(object, "slots", o.slots, 0, kMaxSlots);
  check_range(object, "size", o.size, 1, kMaxSlotBytes);
  PoolHeader h{};
  h.segment.magic = kPoolMagic;
  copy_name(h.segment.name, name);
  h.slots = o.slots;
  // Eight per slot: a slot can be forwarded eight times while earlier readers still hold it, so that consecutive stages
  // that forward do not wait for each other's aliases. Large pools have fewer per slot: not all of their slots are
  // forwarded at once.
  h.aliases = std::max(o.slots, std::min(8 * o.slots, kManyAliases));
  h.slot_bytes = o.size;
  if (o.backend == "cuda") {
    h.backend = static_cast<std::uint32_t>(PoolBackend::cuda);
    h.mirror = static_cast<std::uint32_t>(o.mirror);
  }
  lay_out(h);
  return h;
}

// A GPU's executor reads tagged lines, and a client with a GPU copies what they carry.
bool has_plain_lines(QueueMap::Executed executed, const PoolHeader& pool) {
  return executed != QueueMap::Executed::by_device && pool.backend == static_cast<std::uint32_t>(PoolBackend::host);
}

void check_line(const std::string& object, std::uint32_t line, bool plain) {
  if (line < kLeastLineBytes || line > kMostLineBytes) {
    throw UsageError(object + ": line is " + std::to_string(line) +
                     "; allowed are 64 to 2048, in steps of 64; messages that no line holds travel in slots");
  }
  if (const std::uint32_t next = (line + kLeastLineBytes - 1) / kLeastLineBytes * kLeastLineBytes; next != line) {
    throw UsageError(object + ": line is " + std::to_string(line) + ", not a multiple of 64; use " +
                     std::to_string(next) + ", for messages of up to " + std::to_string(plain_inline_bytes(next)) +
                     " bytes (n bytes need n + 32)");
  }
  if (!plain && line != sizeof(Line)) {
    throw UsageError(object + ": line is " + std::to_string(line) + ", and on a GPU a line has " +
                     std::to_string(sizeof(Line)) + " bytes; leave it out, or use the backend 'host'");
  }
}

// Of a queue; empty: it has no name yet.
std::string object_of_queue(const std::string& name) { return name.empty() ? "queue" : "queue '" + name + "'"; }

QueueHeader header_for(const std::string& name, const QueueOptions& o, QueueMap::Executed executed,
                       const PoolHeader& pool) {
  const std::string object = object_of_queue(name);
  std::uint64_t lines = o.lines;
  if (lines == 0) lines = std::max<std::uint64_t>(1024, std::uint64_t{2} * pool.slots);
  check_range(object, "lines", lines, kMinLines, kMaxLines);
  check_range(object, "endpoints", o.endpoints, 1, kMaxEndpoints);
  check_range(object, "held", o.held, 1, kMaxHeld);
  check_range(object, "calls", o.calls, 0, kMaxCalls);
  if (o.groups.size() > kMaxGroups) {
    throw UsageError(object + ": " + std::to_string(o.groups.size()) + " groups; a queue has " +
                     std::to_string(kMaxGroups) + " at most");
  }
  const bool plain = has_plain_lines(executed, pool);
  check_line(object, o.line, plain);
  QueueHeader h{};
  h.segment.magic = kQueueMagic;
  copy_name(h.segment.name, name);
  if (executed != QueueMap::Executed::none) h.segment.flags |= kQueueHasHandler;
  if (executed != QueueMap::Executed::none && o.handler.empty()) h.segment.flags |= kQueueMovesOnly;
  if (executed == QueueMap::Executed::by_device) h.segment.flags |= kQueueOnDevice;
  if (plain) h.segment.flags |= kQueuePlainLines;
  if (o.batch == Batch::records) h.segment.flags |= kQueueRecords;
  if (is_handler_file(o.handler)) h.segment.flags |= kQueueImage;
  copy_name(h.handler, handler_label(o.handler));
  h.lines = static_cast<std::uint32_t>(std::bit_ceil(lines));
  h.line_bytes = o.line;
  h.endpoints = o.endpoints;
  h.held_per_endpoint = o.held;
  h.backpressure = static_cast<std::uint32_t>(o.backpressure);
  h.calls_per_endpoint = o.calls;
  if (o.on_server_death == OnServerDeath::redeliver) h.segment.flags |= kQueueRedelivers;
  lay_out(h);
  return h;
}

// An IPC handle exports a whole 2 MiB block, so no block is shared between pools.
std::uint64_t device_bytes(const PoolHeader& h) {
  constexpr std::uint64_t kDeviceBlock = std::uint64_t{2} << 20;
  return (h.slots * h.slot_stride + kDeviceBlock - 1) / kDeviceBlock * kDeviceBlock;
}

template <class T>
T* at(const Segment& segment, std::uint64_t offset) {
  return reinterpret_cast<T*>(segment.data() + offset);
}

}  // namespace

PoolOptions PoolMap::of_queue(const QueueOptions& o) {
  return {.slots = o.slots,
          .size = o.size,
          .backend = o.backend == "cuda" && o.slots != 0 ? "cuda" : "host",
          .device = o.device,
          .mirror = o.mirror};
}

MemoryNeeds PoolMap::needs(const std::string& object, const PoolOptions& options) {
  const PoolHeader h = header_for(object, "", options);
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
  PoolHeader h = header_for("pool '" + name + "'", name, options);
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

QueueMap::Executed QueueMap::executed(const QueueOptions& options, const PoolHeader& pool) noexcept {
  const bool on_device = pool.backend == static_cast<std::uint32_t>(PoolBackend::cuda);
  // Without a handler an executor still moves payloads between device memory and mirror.
  const bool moves = on_device && pool.payload_bytes != 0;
  if (options.handler.empty() && !moves) return Executed::none;
  return options.backend == "cuda" || on_device ? Executed::by_device : Executed::by_host;
}

std::unique_ptr<QueueMap> QueueMap::create(const std::string& segment, const std::string& name,
                                           const QueueOptions& options, Executed executed, const PoolHeader& pool,
                                           std::uint64_t generation, const Segment::Access& access) {
  QueueHeader h = header_for(name, options, executed, pool);
  const bool readable = pool.payload_bytes != 0 && options.host_readable;
  if (executed == Executed::by_device && readable) h.segment.flags |= kQueueHostReadable;
  copy_name(h.pool, pool.segment.name);
  h.pool_generation = pool.segment.generation;
  h.segment.generation = generation;
  h.segment.broker_pid = getpid();
  Segment s = Segment::create(segment, h.segment.total_bytes, access);
  std::unique_ptr<QueueMap> map(new QueueMap(std::move(s), h));
  auto& c = *map->control_;
  c.end_ticket.store(kNoTicket, std::memory_order_relaxed);
  init(c.work);
  init(c.completion_waker);
  init(c.space);
  for (auto& bell : c.ready) init(bell);
  for (std::uint32_t e = 0; map->takes_calls() && e < h.endpoints; ++e) init(map->call_bell(e));
  // Declared groups are in the set from the first ticket on.
  std::uint8_t groups = 0;
  for (std::size_t g = 0; g < options.groups.size(); ++g) {
    groups = static_cast<std::uint8_t>(groups | (1u << g));
    copy_name(c.group[g].name, options.groups[g].name);
    const std::uint64_t lossy = options.groups[g].policy == GroupPolicy::lossy ? kGroupLossy : 0;
    c.group[g].policy.store(lossy | kGroupDurable, std::memory_order_relaxed);
  }
  c.live_groups.store(groups, std::memory_order_relaxed);
  c.cursor[kProducers].word.init(pack(Cursor{0, 0, 0, groups, false}));
  publish_header(map->segment_, h);
  return map;
}

std::unique_ptr<QueueMap> QueueMap::open(const std::string& segment, std::uint64_t deadline) {
  Segment s = Segment::open(segment, kQueueMagic, deadline);
  const QueueHeader config = checked_layout(s, checked_header<QueueHeader>(s));
  return std::unique_ptr<QueueMap>(new QueueMap(std::move(s), config));
}

QueueMap::QueueMap(Segment segment, const QueueHeader& config) : segment_(std::move(segment)), config_(config) {
  control_ = at<QueueControl>(segment_, config.control_offset);
  endpoints_ = at<Endpoint>(segment_, config.endpoints_offset);
  held_ = {at<std::byte>(segment_, config.held_offset), held_bytes(config.inline_bytes),
           config.endpoints * config.held_per_endpoint};
  call_bells_ = at<Doorbell>(segment_, config.call_bells_offset);
  calls_ = {at<std::byte>(segment_, config.calls_offset), call_bytes(config.inline_bytes),
            config.endpoints * config.calls_per_endpoint};
  RingWords<SharedAtomics> w;
  for (unsigned c = 0; c < kCursors; ++c) {
    w.cursor[c] = &control_->cursor[c].word;
    w.own[c] = at<Word>(segment_, config.own_offset) + std::uint64_t{c} * config.lines;
  }
  w.in = at<Unit>(segment_, config.in_offset);
  w.out = at<Unit>(segment_, config.out_offset);
  w.live_groups = &control_->live_groups;
  w.free_before = &control_->cursor[kProducers].free_before;
  w.lines = config.lines;
  w.line_units = config.line_bytes / kUnitSize;
  w.plain = (config.segment.flags & kQueuePlainLines) != 0;
  w.device_writes_out = on_device();
  ring_ = Ring<SharedAtomics>(w);
}

GroupWords<SharedAtomics> QueueMap::words(unsigned group, std::uint32_t endpoint, std::uint32_t client) const {
  GroupWords<SharedAtomics> w;
  w.held = held_;
  w.orphans = &control_->group[group].orphans;
  w.first = endpoint * config_.held_per_endpoint;
  w.block = config_.held_per_endpoint;
  w.group = group;
  w.client = client;
  return w;
}

GroupMember<SharedAtomics> QueueMap::member(unsigned group, std::uint32_t endpoint, std::uint32_t client) const {
  return {ring_, words(group, endpoint, client)};
}

GroupMember<SharedAtomics, PublishedView<SharedAtomics>> QueueMap::published_member(unsigned group,
                                                                                    std::uint32_t endpoint,
                                                                                    std::uint32_t client) const {
  return {PublishedView<SharedAtomics>(ring_), words(group, endpoint, client)};
}

InPlaceReader<SharedAtomics> QueueMap::in_place_reader(unsigned group, std::uint32_t endpoint,
                                                       std::uint32_t client) const {
  return {ring_, words(group, endpoint, client)};
}

void QueueMap::ring_all_bells() const noexcept {
  ring_always(control_->work);
  ring_always(control_->completion_waker);
  ring_always(control_->space);
  for (auto& bell : control_->ready) ring_always(bell);
  ring_call_bells();
}

void QueueMap::ring_call_bells() const noexcept {
  for (std::uint32_t e = 0; takes_calls() && e < config_.endpoints; ++e) ring_always(call_bells_[e]);
}

void wake_everybody(const QueueMap& queue, const PoolMap& pool) noexcept {
  queue.ring_all_bells();
  ring_always(pool.control().free);
}

MemoryNeeds QueueMap::needs(const std::string& name, const QueueOptions& options, const PoolOptions* shared) {
  const PoolOptions own = PoolMap::of_queue(options);
  const std::string object = object_of_queue(name);
  const PoolHeader pool = header_for(shared != nullptr ? "pool" : object, "", shared != nullptr ? *shared : own);
  const auto executor = executed(options, pool);
  const QueueHeader h = header_for(name, options, executor, pool);
  MemoryNeeds n = shared != nullptr ? MemoryNeeds{} : PoolMap::needs(object, own);
  n.shared_memory += h.segment.total_bytes;
  if (executor == Executed::by_device) {
    n.pinned += sizeof(QueueControl) + h.held_offset - h.in_offset;
    n.device_memory += options.state_bytes;
  }
  return n;
}

}  // namespace ipcq::detail

namespace ipcq {

using namespace detail;

MemoryNeeds memory_needs(const PoolOptions& options) { return PoolMap::needs("pool", options); }

MemoryNeeds memory_needs(const QueueOptions& options, const PoolOptions* shared) {
  return QueueMap::needs({}, options, shared);
}

}  // namespace ipcq
