// Record batches: what send_many() sends to a queue with batch=records (QueueOptions::batch). Several payloads, the
// records, travel in one message, in a slot; receiving calls show each record by itself, so most programs need nothing
// of this header. It is for who sees a batch as a whole: kernels that receive one through ipcq::cuda.
//
//   RecordsHead | records, each at a multiple of 16 bytes | index: a 32-bit word for each record
//
// A word of the index says where its record ends, in bytes from the head (bits 0-29), and whether the queue's handler
// dropped it (bit 30), so that receiving calls pass it over, or refused it (bit 31). A record begins at the next
// multiple of 16 after the end of the one before, the first behind the head. The index begins at the next multiple of
// 16 after the last, and ends with the message.
//
// The words lie in memory that other processes can write. Records reads each once and checks it; what it returns is
// within the message.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ipcq/export.hpp"

namespace ipcq {

struct RecordsHead {
  std::uint32_t count;     // records, 1 at least
  std::uint32_t index_at;  // where the index begins, in bytes from this head
  std::uint32_t refused;   // not 0: the handler refused some of them
  std::uint32_t dropped;   // not 0: it dropped some
};
static_assert(sizeof(RecordsHead) == 16 && offsetof(RecordsHead, count) == 0 && offsetof(RecordsHead, index_at) == 4 &&
              offsetof(RecordsHead, refused) == 8 && offsetof(RecordsHead, dropped) == 12);

// One record of a batch: where it begins and how long it is, in bytes.
struct RecordPlace {
  std::uint32_t at = 0;
  std::uint32_t length = 0;
  bool refused = false;  // by the queue's handler, or it failed on it
  bool dropped = false;  // by the queue's handler
};

// The index of a batch. A view: the message must stay held meanwhile. Usable in device code.
class Records {
 public:
  static constexpr std::uint32_t kAlignment = 16;
  // In a word of the index.
  static constexpr std::uint32_t kRefused = 0x80000000;
  static constexpr std::uint32_t kDropped = 0x40000000;
  static constexpr std::uint32_t kMarks = kRefused | kDropped;
  static constexpr std::uint32_t kMostBytes = kDropped - 1;  // of a batch

  IPCQ_HOST_DEVICE static constexpr std::uint32_t aligned(std::uint32_t at) noexcept {
    return (at + (kAlignment - 1)) & ~(kAlignment - 1);
  }

  Records() noexcept = default;
  // `batch`: the message's payload of `length` bytes, at a multiple of 16. Empty if its head makes no sense.
  IPCQ_HOST_DEVICE Records(const std::byte* batch, std::uint64_t length) noexcept {
    if (length <= sizeof(RecordsHead) || length > kMostBytes) return;
    const auto* const head = reinterpret_cast<const volatile RecordsHead*>(batch);
    const std::uint32_t count = head->count;
    const std::uint32_t index_at = head->index_at;
    if (index_at < sizeof(RecordsHead) || index_at % kAlignment != 0 || index_at >= length) return;
    if (count == 0 || (length - index_at) / sizeof(std::uint32_t) != count || length % sizeof(std::uint32_t) != 0)
      return;
    index_ = reinterpret_cast<volatile std::uint32_t*>(const_cast<std::byte*>(batch) + index_at);
    index_at_ = index_at;
    count_ = count;
  }

  IPCQ_HOST_DEVICE std::uint32_t size() const noexcept { return count_; }
  // Whether the handler has dropped some; of a batch whose size() is not 0.
  IPCQ_HOST_DEVICE static bool has_dropped(const std::byte* batch) noexcept {
    return reinterpret_cast<const volatile RecordsHead*>(batch)->dropped != 0;
  }
  // Record `i`, less than size(). False: its words make no sense.
  IPCQ_HOST_DEVICE bool get(std::uint32_t i, RecordPlace& place) const noexcept {
    return get_from(i == 0 ? sizeof(RecordsHead) : index_[i - 1] & ~kMarks, i, place);
  }
  // The same where the end of the one before is known: `before`, sizeof(RecordsHead) for the first.
  IPCQ_HOST_DEVICE bool get_from(std::uint32_t before, std::uint32_t i, RecordPlace& place) const noexcept {
    const std::uint32_t word = index_[i];
    const std::uint32_t end = word & ~kMarks;
    place.at = aligned(before);
    place.length = end - place.at;
    place.refused = (word & kRefused) != 0;
    place.dropped = (word & kDropped) != 0;
    return place.at >= sizeof(RecordsHead) && place.at <= end && end <= index_at_;
  }
  // The words, for the queue's executor.
  IPCQ_HOST_DEVICE volatile std::uint32_t* index() const noexcept { return index_; }

 private:
  volatile std::uint32_t* index_ = nullptr;
  std::uint32_t index_at_ = 0;
  std::uint32_t count_ = 0;
};

}  // namespace ipcq
