// What send_many() does in a queue with batch=records: packs payloads into batches (ipcq/records.hpp), each in a slot.
//
// For the producer's thread. Refers to its core, which owns it. Between two calls of send() with `more` a slot may be
// on loan to the producer; it belongs to no message yet, and goes back as any loan does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/deadline.hpp"
#include "client/record_sink.hpp"
#include "ipcq/records.hpp"
#include "ipcq/status.hpp"
#include "protocol/pool.hpp"

namespace ipcq::detail {

class ProducerCore;

// Has the core's send_many() pack records, if its queue has batch=records and the CPU can write the slots. Before any
// of its calls.
void pack_records(ProducerCore& core);

class RecordPacker final : public RecordSink {
 public:
  explicit RecordPacker(ProducerCore& core) noexcept;

  BatchResult send(std::span<const std::span<const std::byte>> payloads, Deadline& deadline,
                   bool more) noexcept override;
  void abandon() noexcept override;

 private:
  // Of one batch: its index stays in this process until it is published.
  static constexpr std::uint32_t kMostRecords = 4096;
  static constexpr std::uint32_t kWord = sizeof(std::uint32_t);

  // As many of the payloads as fit are added to the open batch. Returns how many.
  std::size_t add(std::span<const std::span<const std::byte>> payloads) noexcept;
  Status open(Deadline& deadline) noexcept;
  Status publish(Deadline& deadline) noexcept;
  BatchResult send_payloads(std::span<const std::span<const std::byte>> payloads, Deadline& deadline,
                            bool more) noexcept;
  // Whether a batch can hold one payload of that length.
  bool fits_alone(std::size_t length) const noexcept {
    return sizeof(RecordsHead) + length + Records::kAlignment + kWord <= capacity_;
  }

  ProducerCore& core_;
  const std::size_t capacity_;  // of a slot, as far as a batch uses it
  std::byte* data_ = nullptr;   // of the open batch's slot; null: none is open
  SlotLoan slot_;
  std::uint32_t end_ = 0;  // of its last record, from the head
  std::uint32_t count_ = 0;
  std::uint64_t more_records_ = 0;  // of all batches, but for the first of each
  std::uint32_t ends_[kMostRecords];
};

}  // namespace ipcq::detail
