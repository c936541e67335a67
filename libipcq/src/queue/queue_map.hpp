// The segment of a queue, as mapped in this process. Creating or opening one checks its header once and copies it;
// afterwards no count or offset is read from shared memory. Immutable but for segment(), so thread-safe; what the
// pointers refer to is shared memory, with the rules of layout.hpp.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "ipcq/options.hpp"
#include "layout/call.hpp"
#include "layout/schema_words.hpp"
#include "protocol/doorbell.hpp"
#include "protocol/group.hpp"
#include "protocol/in_place.hpp"
#include "protocol/published_view.hpp"
#include "protocol/ring.hpp"
#include "queue/pool_map.hpp"
#include "queue/segment.hpp"

namespace ipcq::detail {

class QueueMap {
 public:
  // Which executor processes the lines of `in` into those of `out`; none: a direct queue.
  enum class Executed : std::uint8_t { none, by_host, by_device };
  // For a queue in this pool. `options.backend` is not "auto" any more.
  static Executed executed(const QueueOptions& options, const PoolHeader& pool) noexcept;
  // As ipcq::memory_needs(). The name is that in errors.
  static MemoryNeeds needs(const std::string& name, const QueueOptions& options, const PoolOptions* shared);
  static std::unique_ptr<QueueMap> create(const std::string& segment, const std::string& name,
                                          const QueueOptions& options, Executed executed, const PoolHeader& pool,
                                          std::uint64_t generation, const Segment::Access& access);
  static std::unique_ptr<QueueMap> open(const std::string& segment, std::uint64_t deadline);

  const QueueHeader& config() const noexcept { return config_; }
  const Segment& segment() const noexcept { return segment_; }
  Segment& segment() noexcept { return segment_; }
  const Ring<SharedAtomics>& ring() const noexcept { return ring_; }
  QueueControl& control() const noexcept { return *control_; }
  bool on_device() const noexcept { return (config_.segment.flags & kQueueOnDevice) != 0; }
  bool changes_payloads() const noexcept {
    return ring_.has_handler() && (config_.segment.flags & kQueueMovesOnly) == 0;
  }
  // Whether the handler is the user's own.
  bool runs_an_image() const noexcept { return (config_.segment.flags & kQueueImage) != 0; }
  bool is_host_readable() const noexcept { return (config_.segment.flags & kQueueHostReadable) != 0; }
  // Whether producers pack what they are given at once as records of one message.
  bool packs_records() const noexcept { return (config_.segment.flags & kQueueRecords) != 0; }
  // Whether the broker has closed it: nothing goes in or comes out any more.
  bool is_closed() const noexcept {
    return control_->state.load(std::memory_order_relaxed) == static_cast<std::uint64_t>(QueueState::closed);
  }
  // Whether its messages are requests, which are answered (protocol/calls.hpp).
  bool takes_calls() const noexcept { return config_.calls_per_endpoint != 0; }
  // Whether the request of a server that has died goes to another.
  bool redelivers_calls() const noexcept { return (config_.segment.flags & kQueueRedelivers) != 0; }
  // Whether its handler answers them: what is processed is the reply, and clients collect it.
  bool handler_answers() const noexcept { return takes_calls() && changes_payloads(); }
  const CallEntries<SharedAtomics>& calls() const noexcept { return calls_; }
  // Whether a call may have this id, which comes from shared memory; then its entry, and the bell of its client.
  bool has_call(std::uint64_t id) const noexcept { return call_entry(id) < calls_.size(); }
  CallEntry& call(std::uint64_t id) const noexcept { return calls_[call_entry(id)]; }
  Doorbell& bell_of_call(std::uint64_t id) const noexcept {
    return call_bell(call_entry(id) / config_.calls_per_endpoint);
  }
  // For the client that is this endpoint: rung when one of its calls was answered. Also for who streams replies to it:
  // rung when it has read one.
  Doorbell& call_bell(std::uint32_t endpoint) const noexcept { return call_bells_[endpoint]; }
  // What goes in, or comes out, as its text; empty: any bytes. `out` differs from `in` where a handler or a server
  // makes something else of what goes in.
  bool has_schema_of_results() const noexcept { return changes_payloads() || takes_calls(); }
  std::string schema(SchemaPlace place) const;
  // For the broker. A text of kMostSchemaBytes at most.
  void set_schema(SchemaPlace place, std::string_view text) const noexcept;
  // The second bell of wait_until() for sleepers on this queue's bells; null on the host.
  Doorbell* attendant() const noexcept { return on_device() ? &control_->completion_waker : nullptr; }
  Endpoint& endpoint(std::uint32_t index) const noexcept { return endpoints_[index]; }
  const HeldEntries<SharedAtomics>& held() const noexcept { return held_; }
  // Those of one endpoint's block.
  HeldEntries<SharedAtomics> held_block(std::uint32_t endpoint) const noexcept {
    return held_.part(endpoint * config_.held_per_endpoint, config_.held_per_endpoint);
  }
  // A member of `group`. Its block of held entries is that of its endpoint.
  GroupMember<SharedAtomics> member(unsigned group, std::uint32_t endpoint, std::uint32_t client) const;
  // The same member, which takes messages before they are processed. Only one of the two may take at a time.
  GroupMember<SharedAtomics, PublishedView<SharedAtomics>> published_member(unsigned group, std::uint32_t endpoint,
                                                                            std::uint32_t client) const;
  // The same member, which reads messages in their lines.
  InPlaceReader<SharedAtomics> in_place_reader(unsigned group, std::uint32_t endpoint, std::uint32_t client) const;
  // Wakes every client of a queue of calls, and every server that waits for one.
  void ring_call_bells() const noexcept;
  // Wakes every sleeper of the queue.
  void ring_all_bells() const noexcept;

 private:
  QueueMap(Segment segment, const QueueHeader& config);
  GroupWords<SharedAtomics> words(unsigned group, std::uint32_t endpoint, std::uint32_t client) const;
  Segment segment_;
  QueueHeader config_;
  Ring<SharedAtomics> ring_;
  QueueControl* control_;
  Endpoint* endpoints_;
  HeldEntries<SharedAtomics> held_;
  Doorbell* call_bells_;
  CallEntries<SharedAtomics> calls_;
  SchemaWords* schemas_;
};

// Room for a typed value in the metadata of the queue's messages. None where a handler changes payloads: it sees no
// metadata, and could make nothing of the value.
inline std::size_t metadata_for_values(const QueueMap& queue, const PoolMap& pool) noexcept {
  return queue.changes_payloads() ? 0 : pool.config().metadata_bytes;
}

// Rings every bell of the queue and the bell of the pool.
void wake_everybody(const QueueMap& queue, const PoolMap& pool) noexcept;

// After `out` lines that the caller has written, or seen: rings the bells of the groups, which can take them, and those
// of the producers. These wait for processed lines too, because they discard no other, and a line that no group reads
// is free now.
inline void wake_after_processing(const QueueMap& queue, const PoolMap& pool) noexcept {
  publisher_fence();  // the stores or loads of `out` before the loads of `armed`
  auto& control = queue.control();
  for (std::uint64_t left = queue.ring().live_groups(); left != 0; left &= left - 1) {
    ring(control.ready[static_cast<unsigned>(std::countr_zero(left))]);
  }
  ring(control.space);
  ring(pool.control().free);
}

// After wake_after_processing() of the tickets [first, end): wakes the clients whose calls these are, and those of the
// tickets behind that are processed already: these could not collect theirs before.
inline void wake_callers(const QueueMap& queue, std::uint64_t first, std::uint64_t end) noexcept {
  if (!queue.handler_answers()) return;
  const auto& ring_of = queue.ring();
  for (std::uint64_t t = first; t < end || ring_of.readable(t); ++t) {
    // If the line has the next lap's message already, this one was collected, by who has woken its client.
    const std::uint64_t id = ring_of.out(t)[1].load(std::memory_order_relaxed).lo;
    if (queue.has_call(id)) ring(queue.bell_of_call(id));
  }
}

// After an answer to a call: wakes its client.
inline void wake_caller(const QueueMap& queue, std::uint64_t id) noexcept {
  publisher_fence();
  ring(queue.bell_of_call(id));
}

// Whether the descriptor of a message is within the bounds of the queue's lines and of the pool. A record batch lies in
// a slot: its handler and its readers work on it there. `d` must be a private copy.
inline bool is_sound(const Descriptor& d, const QueueMap& queue, const PoolMap& pool) noexcept {
  if (d.kind == LineKind::inlined) return d.length <= queue.config().inline_bytes && (d.flags & kRecords) == 0;
  return d.kind == LineKind::slot && is_sound_in_slot(d.slot, d.alias, d.length, pool);
}

}  // namespace ipcq::detail
