// How executors work on a record batch (ipcq/records.hpp), for host and device code: the handler is called for each
// record, and those that it refuses are marked in the index.
//
// Each lane of a team calls handle_records() once; the lanes need no order. Invariants: nothing outside the message is
// read or written, whatever other processes write there meanwhile; a batch whose head makes no sense stays as it is,
// and so does a record whose words make none.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ipcq/export.hpp"
#include "ipcq/handler.hpp"
#include "ipcq/records.hpp"

namespace ipcq::detail {

// The lanes that share one message or one record: a team as handlers take it (ipcq/handler.hpp).
struct Team {
  std::uint64_t my_rank = 0;
  std::uint64_t my_size = 1;
  IPCQ_HOST_DEVICE constexpr std::uint64_t rank() const noexcept { return my_rank; }
  IPCQ_HOST_DEVICE constexpr std::uint64_t size() const noexcept { return my_size; }
  // It has neither; so a handler's author learns why.
  template <bool Has = false>
  IPCQ_HOST_DEVICE void sync() const noexcept {
    static_assert(Has, IPCQ_NO_SYNC);
  }
  template <bool Has = false>
  IPCQ_HOST_DEVICE std::byte* scratch() const noexcept {
    static_assert(Has, IPCQ_NO_SCRATCH);
    return nullptr;
  }
};

// The lanes of a team of `lanes` that share each record of a batch with records of `mean` bytes, as a power of two: one
// for each 64 bytes, which are the four vector loads that a handler has in flight (transform_bytes), so that the team
// works on many records at once; but four at least, so that their loads take whole sectors of 32 bytes, and that a
// record much longer than the others is not left to one lane.
IPCQ_HOST_DEVICE constexpr unsigned log2_of_record_lanes(std::uint64_t mean, std::uint64_t lanes) noexcept {
  constexpr std::uint64_t kLaneBytes = 64;
  constexpr std::uint64_t kLeastLanes = 4;
  unsigned log2 = 0;
  while ((std::uint64_t{2} << log2) <= lanes &&
         ((std::uint64_t{1} << log2) < kLeastLanes || (kLaneBytes << log2) < mean)) {
    ++log2;
  }
  return log2;
}

// The mark of a record in the index, by what its handler has made of it: whether it was taken, or
// HandlerMessage::outcome.
IPCQ_HOST_DEVICE constexpr std::uint32_t mark_of(bool taken) noexcept { return taken ? 0 : Records::kRefused; }
IPCQ_HOST_DEVICE constexpr std::uint32_t mark_of(std::uint32_t outcome) noexcept {
  return outcome == 0 ? 0 : outcome == kDroppedOutcome ? Records::kDropped : Records::kRefused;
}

// Marks record `i`, at `place`, and in the head that there are such. By one lane.
IPCQ_HOST_DEVICE inline void mark_record(std::byte* batch, const Records& records, std::uint32_t i,
                                         const RecordPlace& place, std::uint32_t mark) noexcept {
  // What a producer has put into the bits gives way to the handler's verdict.
  const std::uint32_t before =
      (place.refused ? Records::kRefused : 0) | (place.dropped ? std::uint32_t{Records::kDropped} : 0);
  if (mark != before) records.index()[i] = (place.at + place.length) | mark;
  auto* const head = reinterpret_cast<volatile RecordsHead*>(batch);
  if (mark == Records::kRefused) head->refused = 1;
  if (mark == Records::kDropped) head->dropped = 1;
}

// Record `number` of a batch as the handler sees it.
IPCQ_HOST_DEVICE inline HandlerMessage record_of(const HandlerMessage& batch, std::byte* data, std::uint64_t length,
                                                 std::uint32_t number) noexcept {
  HandlerMessage m;
  m.data = data;
  m.length = m.capacity = length;
  m.ticket = batch.ticket;
  m.sequence = batch.sequence;
  m.published_at_ns = batch.published_at_ns;
  m.producer = batch.producer;
  m.record = number;
  m.record_of_batch = true;
  return m;
}

// Calls handle(data, length, team), or handle(data, length, team, number), for this lane's records, with the team of
// lanes that share the record: 2^log2 of them. The result, of the lane of rank 0, is for mark_of(). Returns whether
// this lane has marked a record as refused.
//
// `refused` and `dropped` of the head are 0 as the producer writes them, and a lane that marks a record sets one; no
// lane clears it, as the lanes need no order. The word of record i is read by the lanes of records i and i + 1 while
// one of them changes its marks. That harms none: words are loaded and stored as a whole, with the same bits below, and
// the marks do not tell the lanes anything.
template <class Handle>
IPCQ_HOST_DEVICE bool handle_records(std::byte* batch, const Records& records, const Team& team, unsigned log2,
                                     Handle handle) noexcept {
  const std::uint32_t count = records.size();
  const std::uint64_t at_once = team.size() >> log2;
  std::uint64_t i = team.rank() >> log2;
  if (i >= at_once) return false;  // a lane that is over
  const std::uint64_t lanes = std::uint64_t{1} << log2;
  const Team mine{team.rank() & (lanes - 1), lanes};
  bool refused = false;
  for (; i < count; i += at_once) {
    RecordPlace place;
    const auto number = static_cast<std::uint32_t>(i);
    if (!records.get(number, place)) continue;
    std::byte* const data = batch + place.at;
    std::uint32_t mark = 0;
    if constexpr (requires { handle(data, std::uint64_t{place.length}, mine, number); }) {
      mark = mark_of(handle(data, std::uint64_t{place.length}, mine, number));
    } else {
      mark = mark_of(handle(data, std::uint64_t{place.length}, mine));
    }
    if (mine.rank() != 0) continue;
    mark_record(batch, records, number, place, mark);
    refused |= mark == Records::kRefused;
  }
  return refused;
}

// The same with as many lanes for a record as suit their lengths.
template <class Handle>
IPCQ_HOST_DEVICE bool handle_records(std::byte* batch, std::uint64_t length, const Team& team, Handle handle) noexcept {
  const Records records(batch, length);
  if (records.size() == 0) return false;
  return handle_records(batch, records, team, log2_of_record_lanes(length / records.size(), team.size()), handle);
}

// Whether records of the batch were refused, as its head says; by one thread that observes what all lanes have done.
// A producer that has set the word itself has its batch counted as if.
IPCQ_HOST_DEVICE inline bool has_refused_records(const std::byte* batch, std::uint64_t length) noexcept {
  return Records(batch, length).size() != 0 && reinterpret_cast<const volatile RecordsHead*>(batch)->refused != 0;
}

}  // namespace ipcq::detail
