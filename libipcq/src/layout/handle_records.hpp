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
#include "ipcq/records.hpp"

namespace ipcq::detail {

// The lanes that share one message or one record: a team as handlers take it (ipcq/handler.hpp).
struct Team {
  std::uint64_t my_rank = 0;
  std::uint64_t my_size = 1;
  IPCQ_HOST_DEVICE constexpr std::uint64_t rank() const noexcept { return my_rank; }
  IPCQ_HOST_DEVICE constexpr std::uint64_t size() const noexcept { return my_size; }
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

// Calls handle(data, length, team) for this lane's records, with the team of lanes that share the record. It says
// whether the handler took that length: the same for all lanes. Returns whether this lane has marked a record as
// refused.
//
// `refused` of the head is 0 as the producer writes it, and a lane that marks a record sets it; no lane clears it, as
// the lanes need no order. The word of record i is read by the lanes of records i and i + 1 while one of them sets or
// clears its bit 31. That harms none: words are loaded and stored as a whole, with the same bits 0 to 30, and what
// stands in bit 31 does not tell the lanes anything.
template <class Handle>
IPCQ_HOST_DEVICE bool handle_records(std::byte* batch, std::uint64_t length, const Team& team, Handle handle) noexcept {
  const Records records(batch, length);
  const std::uint32_t count = records.size();
  if (count == 0) return false;
  const unsigned log2 = log2_of_record_lanes(length / count, team.size());
  const std::uint64_t at_once = team.size() >> log2;
  std::uint64_t i = team.rank() >> log2;
  if (i >= at_once) return false;  // a lane that is over
  const std::uint64_t lanes = std::uint64_t{1} << log2;
  const Team mine{team.rank() & (lanes - 1), lanes};
  auto* const index = reinterpret_cast<volatile std::uint32_t*>(batch + length) - count;
  bool refused = false;
  for (; i < count; i += at_once) {
    RecordPlace place;
    if (!records.get(static_cast<std::uint32_t>(i), place)) continue;
    const bool taken = handle(batch + place.at, std::uint64_t{place.length}, mine);
    if (mine.rank() != 0) continue;
    // What a producer has put into the bit gives way to the handler's verdict.
    if (taken == place.refused) index[i] = (place.at + place.length) | (taken ? 0 : Records::kRefused);
    refused |= !taken;
  }
  if (refused) reinterpret_cast<volatile RecordsHead*>(batch)->refused = 1;
  return refused;
}

// Whether records of the batch were refused, as its head says; by one thread that observes what all lanes have done.
// A producer that has set the word itself has its batch counted as if.
IPCQ_HOST_DEVICE inline bool has_refused_records(const std::byte* batch, std::uint64_t length) noexcept {
  return Records(batch, length).size() != 0 && reinterpret_cast<const volatile RecordsHead*>(batch)->refused != 0;
}

}  // namespace ipcq::detail
