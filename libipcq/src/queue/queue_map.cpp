#include "queue/queue_map.hpp"

#include <unistd.h>

#include <bit>
#include <cstring>
#include <utility>

#include "base/fnv1a.hpp"
#include "ipcq/builtin_handlers.hpp"
#include "ipcq/error.hpp"
#include "layout/handler_text.hpp"
#include "layout/held.hpp"
#include "protocol/doorbell.hpp"
#include "queue/map_header.hpp"

namespace ipcq::detail {
namespace {

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

}  // namespace

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
  map->set_schema(kSchemaIn, options.schema);
  map->set_schema(kSchemaOut, options.result_schema);
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
  schemas_ = at<SchemaWords>(segment_, config.schemas_offset);
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

std::string QueueMap::schema(SchemaPlace place) const {
  const SchemaWords& words = schemas_[place];
  for (int tries = 0; tries < 3; ++tries) {
    // SYNC schema (acquire): the text of this id is there. Pairs with: set_schema.
    const std::uint64_t id = words.id.load(std::memory_order_acquire);
    const std::uint64_t length = words.length.load(std::memory_order_relaxed);
    if (id == 0 || length > kMostSchemaBytes) return {};
    std::string text(kMostSchemaBytes, '\0');
    for (std::size_t at = 0; at < length; at += sizeof(Word)) {
      const std::uint64_t part = words.text[at / sizeof(Word)].load(std::memory_order_relaxed);
      std::memcpy(text.data() + at, &part, sizeof part);
    }
    text.resize(length);
    if (fnv1a(text) == id) return text;
  }
  return {};  // the broker writes it now, or somebody has written over it
}

void QueueMap::set_schema(SchemaPlace place, std::string_view text) const noexcept {
  SchemaWords& words = schemas_[place];
  words.id.store(0, std::memory_order_relaxed);
  if (text.empty()) return;
  words.length.store(text.size(), std::memory_order_relaxed);
  for (std::size_t at = 0; at < text.size(); at += sizeof(Word)) {
    std::uint64_t part = 0;
    std::memcpy(&part, text.data() + at, std::min(sizeof part, text.size() - at));
    words.text[at / sizeof(Word)].store(part, std::memory_order_relaxed);
  }
  // SYNC schema (release): the text. Pairs with: schema.
  words.id.store(fnv1a(text), std::memory_order_release);
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
  const PoolHeader pool = PoolMap::planned(shared != nullptr ? "pool" : object, shared != nullptr ? *shared : own);
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
