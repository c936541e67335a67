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

bool AnswerCollector::tell(const Descriptor& d, const Result& r) noexcept {
  using Side = AnswerSide<SharedAtomics>;
  const Side call(queue_.call(d.sequence), call_number(d.sequence), client_);
  if (call.begin(false) != Side::Begun::yes) return false;
  // A failure's text may be cut off.
  const auto length = static_cast<std::uint32_t>(r.is_long ? r.bytes.size() : std::min(r.bytes.size(), answer_bytes_));
  if (!r.is_long && length != 0) std::memcpy(call.data(), r.bytes.data(), length);
  call.place(length, r.answer == Answer::failure ? r.code : d.slot, d.lease);
  return call.publish(r.answer, r.is_long, false);
}

// Whether the message's slot is its caller's then.
bool AnswerCollector::answer(const Descriptor& d, const Result& r) noexcept {
  if (!tell(d, r)) {
    endpoint_.cancelled.store(++cancelled_, std::memory_order_relaxed);
    return false;
  }
  wake_caller(queue_, d.sequence);
  return r.is_long;
}

void AnswerCollector::deliver(std::uint32_t entry) noexcept {
  const Held& h = member_.held(entry);
  const std::uint32_t deliveries = unpack_held(h.word.load(std::memory_order_relaxed)).deliveries;
  const Descriptor d = h.descriptor.load();  // checked in this copy
  const bool names_a_call = queue_.has_call(d.sequence);
  if (names_a_call && is_sound(d, queue_, pool_) && (d.kind != LineKind::slot || d.alias == kNone)) {
    if (answer(d, result_of(h, d))) {
      (void)member_.hand_over(entry, deliveries);
      return;
    }
  } else {
    endpoint_.damaged.store(++damaged_, std::memory_order_relaxed);
    if (names_a_call) {  // which is told, if it is one
      const AnswerSide<SharedAtomics> call(queue_.call(d.sequence), call_number(d.sequence), client_);
      (void)call.finish(call.kDied, false, {});
      wake_caller(queue_, d.sequence);
    }
  }
  bool freed = false;
  (void)member_.release(entry, deliveries, pool_.pool(), freed);
  if (freed) {
    publisher_fence();
    ring(pool_.control().free);
  }
}

}  // namespace ipcq::detail
