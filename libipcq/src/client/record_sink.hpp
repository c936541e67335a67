// What a producer's core asks of the unit that packs payloads into batches, in a queue with batch=records. An
// interface, since that unit (record_packer.hpp) is built on the core.
#pragma once

#include <cstddef>
#include <span>

#include "base/deadline.hpp"
#include "ipcq/status.hpp"

namespace ipcq::detail {

class RecordSink {
 public:
  RecordSink() = default;
  virtual ~RecordSink() = default;
  RecordSink(const RecordSink&) = delete;
  RecordSink& operator=(const RecordSink&) = delete;

  // Sends the payloads in order: as records, or as a message of its own what does not fit a slot with another. `more`:
  // the same call goes on, so the last batch may stay open. Counts what was published, also of payloads that earlier
  // calls have left in an open batch. On another status than ok what is in the open batch was not sent.
  virtual BatchResult send(std::span<const std::span<const std::byte>> payloads, Deadline& deadline,
                           bool more) noexcept = 0;
  // Gives back the slot of an open batch. Its payloads were not sent.
  virtual void abandon() noexcept = 0;
};

}  // namespace ipcq::detail
