#include "layout/regions.hpp"

#include <bit>

#include "ipcq/options.hpp"
#include "layout/call.hpp"
#include "layout/held.hpp"
#include "layout/schema_words.hpp"
#include "layout/slot_metadata.hpp"

namespace ipcq::detail {
namespace {

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

// Places the regions of a segment one after the other, each from a page boundary on.
class Regions {
 public:
  std::uint64_t add(std::uint64_t bytes) {
    const std::uint64_t at = next_;
    next_ = round_up(next_ + bytes, kPageBytes);
    return at;
  }
  std::uint64_t end() const { return next_; }

 private:
  std::uint64_t next_ = kHeaderBytes;
};

bool has_possible_lines(const QueueHeader& h) noexcept {
  if ((h.segment.flags & kQueuePlainLines) == 0) return h.line_bytes == sizeof(Line);
  if ((h.segment.flags & kQueueOnDevice) != 0) return false;  // device code reads tagged lines
  return h.line_bytes % kLeastLineBytes == 0 && h.line_bytes >= kLeastLineBytes && h.line_bytes <= kMostLineBytes;
}

}  // namespace

bool has_possible_counts(const PoolHeader& h) noexcept {
  return h.slots <= kMaxSlots && h.aliases <= kMaxSlots && h.slot_bytes >= 1 && h.slot_bytes <= kMaxSlotBytes &&
         h.metadata_bytes <= kMostMetadataBytes && h.backend <= static_cast<std::uint32_t>(PoolBackend::cuda);
}

bool has_possible_counts(const QueueHeader& h) noexcept {
  return std::has_single_bit(h.lines) && h.lines >= kMinLines && h.lines <= kMaxLines && h.endpoints >= 1 &&
         h.endpoints <= kMaxEndpoints && h.held_per_endpoint >= 1 && h.held_per_endpoint <= kMaxHeld &&
         h.calls_per_endpoint <= kMaxCalls && h.backpressure <= static_cast<std::uint32_t>(Backpressure::drop_oldest) &&
         has_possible_lines(h);
}

void lay_out(PoolHeader& h) noexcept {
  Regions r;
  h.alias_base = static_cast<std::uint32_t>(round_up(h.slots, kSlotsPerFreeWord));
  const std::uint64_t words = h.alias_base + h.aliases;
  // Each slot begins at a 128-byte boundary, a slot of a page or more at a page boundary.
  h.slot_stride = round_up(h.slot_bytes, h.slot_bytes >= kPageBytes ? kPageBytes : kLineBytes);
  h.control_offset = r.add(sizeof(PoolControl));
  h.free_bits_offset = r.add(round_up(words, kSlotsPerFreeWord) / kSlotsPerFreeWord * sizeof(Word));
  h.slots_offset = r.add(words * sizeof(Wide));
  h.parents_offset = r.add(h.aliases * sizeof(AliasParent));
  h.metadata_offset = r.add(h.slots * metadata_stride(h.metadata_bytes));
  h.gpub_offset = r.add(h.slots * sizeof(Word));
  h.tomb_offset = r.add(h.slots * sizeof(Word));
  const bool on_host = h.backend == static_cast<std::uint32_t>(PoolBackend::host) || h.mirror != 0;
  h.payload_bytes = on_host ? h.slots * h.slot_stride : 0;
  h.payload_offset = r.add(h.payload_bytes);
  h.segment.total_bytes = r.end();
}

void lay_out(QueueHeader& h) noexcept {
  Regions r;
  const bool handler = (h.segment.flags & kQueueHasHandler) != 0;
  h.control_offset = r.add(sizeof(QueueControl));
  h.endpoints_offset = r.add(std::uint64_t{h.endpoints} * sizeof(Endpoint));
  h.own_offset = r.add(std::uint64_t{kCursors} * h.lines * sizeof(Word));
  const bool plain = (h.segment.flags & kQueuePlainLines) != 0;
  h.inline_bytes = plain ? plain_inline_bytes(h.line_bytes) : kInlineBytes;
  h.in_offset = r.add(std::uint64_t{h.lines} * h.line_bytes);
  h.out_offset = handler ? r.add(std::uint64_t{h.lines} * h.line_bytes) : h.in_offset;
  h.held_offset = r.add(std::uint64_t{h.endpoints} * h.held_per_endpoint * held_bytes(h.inline_bytes));
  const std::uint64_t calls = std::uint64_t{h.endpoints} * h.calls_per_endpoint;
  h.call_bells_offset = r.add(calls != 0 ? h.endpoints * sizeof(Doorbell) : 0);
  h.calls_offset = r.add(calls * call_bytes(h.inline_bytes));
  h.schemas_offset = r.add(kSchemas * sizeof(SchemaWords));
  h.segment.total_bytes = r.end();
}

}  // namespace ipcq::detail
