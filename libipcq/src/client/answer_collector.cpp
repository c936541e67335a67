#include "client/answer_collector.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <string_view>

namespace ipcq::detail {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

// What the call of a processed message is told.
struct AnswerCollector::Result {
  Answer answer = Answer::reply;
  std::uint32_t code = 0;              // of a failure
  std::span<const std::byte> bytes{};  // the reply, or the failure's text
  bool is_long = false;                // the reply stays in the message's slot
};

AnswerCollector::AnswerCollector(const QueueMap& queue, const PoolMap& pool, std::uint32_t endpoint,
                                 std::uint32_t client)
    : queue_(queue),
      pool_(pool),
      member_(queue.member(kServers, endpoint, client)),
      endpoint_(queue.endpoint(endpoint)),
      client_(client),
      answer_bytes_(answer_bytes(queue.config().inline_bytes)) {}

bool AnswerCollector::collect() noexcept {
  constexpr std::size_t kMost = 16;  // no comparison with other values is recorded
  std::uint32_t entries[kMost];
  const Taken taken = member_.take(entries);
  if (taken.damaged != 0) endpoint_.damaged.store(damaged_ += taken.damaged, std::memory_order_relaxed);
  if (taken.freed_lines) {
    publisher_fence();
    ring(queue_.control().space);
  }
  for (std::size_t i = 0; i < taken.count; ++i) deliver(entries[i]);
  return taken.outcome == TakeOutcome::taken;
}

AnswerCollector::Result AnswerCollector::result_of(const Held& held, const Descriptor& d) const noexcept {
  Result r;
  if ((d.flags & kFiltered) != 0) {
    r.answer = Answer::end;
  } else if ((d.flags & kNotProcessed) != 0) {
    const bool failed = (d.flags & kHandlerFailed) != 0;
    r.answer = Answer::failure;
    r.code = failed ? d.priority : 0;
    r.bytes = bytes_of(failed ? "the queue's handler failed" : "the queue's handler takes no request of this length");
  } else if (d.kind == LineKind::inlined) {
    r.bytes = {held.data.view(), d.length};
  } else if (pool_.on_device() && (d.flags & kInMirror) == 0) {
    r.answer = Answer::failure;
    r.bytes = bytes_of("the reply is in device memory alone");
  } else {
    r.bytes = {pool_.payload(d.slot), d.length};
    r.is_long = d.length > answer_bytes_;
  }
  return r;
}

AnswerSide<SharedAtomics>::After AnswerCollector::answer(const Descriptor& d, const Result& r) noexcept {
  using Side = AnswerSide<SharedAtomics>;
  const Side call(queue_.calls()[call_entry(d.sequence)], call_number(d.sequence), client_);
  if (call.begin(false) != Side::Begun::yes) {
    endpoint_.cancelled.store(++cancelled_, std::memory_order_relaxed);
    return Side::After::release;
  }
  // A failure's text may be cut off.
  const auto length = static_cast<std::uint32_t>(r.is_long ? r.bytes.size() : std::min(r.bytes.size(), answer_bytes_));
  if (!r.is_long && length != 0) std::memcpy(call.data(), r.bytes.data(), length);
  call.place(length, r.answer == Answer::failure ? r.code : d.slot, d.lease);
  if (!call.publish(r.answer, r.is_long, false)) {
    endpoint_.cancelled.store(++cancelled_, std::memory_order_relaxed);
    return Side::After::release;
  }
  publisher_fence();
  ring(queue_.call_bell(call_entry(d.sequence) / queue_.config().calls_per_endpoint));
  return r.is_long ? Side::After::handed_over : Side::After::release;
}

void AnswerCollector::deliver(std::uint32_t entry) noexcept {
  const Held& h = member_.held(entry);
  const std::uint32_t deliveries = unpack_held(h.word.load(std::memory_order_relaxed)).deliveries;
  const Descriptor d = h.descriptor.load();  // checked in this copy
  const bool sound = is_sound(d, queue_, pool_) && call_entry(d.sequence) < queue_.calls().size() &&
                     (d.kind != LineKind::slot || d.alias == kNone);
  if (!sound && call_entry(d.sequence) < queue_.calls().size()) {  // its call, if it is one, is told
    const AnswerSide<SharedAtomics> call(queue_.calls()[call_entry(d.sequence)], call_number(d.sequence), client_);
    (void)call.finish(call.kDied, false, {});
    ring(queue_.call_bell(call_entry(d.sequence) / queue_.config().calls_per_endpoint));
  }
  if (!sound) endpoint_.damaged.store(++damaged_, std::memory_order_relaxed);
  if (sound && answer(d, result_of(h, d)) == AnswerSide<SharedAtomics>::After::handed_over) {
    (void)member_.hand_over(entry, deliveries);
    return;
  }
  bool freed = false;
  (void)member_.release(entry, deliveries, pool_.pool(), freed);
  if (freed) {
    publisher_fence();
    ring(pool_.control().free);
  }
}

}  // namespace ipcq::detail
