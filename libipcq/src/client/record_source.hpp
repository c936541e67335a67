// What a consumer's core asks of the unit that shows the records of batches, in a queue with batch=records. An
// interface, since that unit (record_reader.hpp) is built on the core.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/deadline.hpp"
#include "ipcq/consumer.hpp"

namespace ipcq::detail {

class RecordSource {
 public:
  // Of Message::Hold::entry: the message is a record, and the other bits are for the source.
  static constexpr std::uint32_t kRecordBit = 0x80000000;

  RecordSource() = default;
  virtual ~RecordSource() = default;
  RecordSource(const RecordSource&) = delete;
  RecordSource& operator=(const RecordSource&) = delete;

  // As Consumer's calls of these names. `record`: an empty message.
  virtual Status receive(Message& record, Deadline& deadline) noexcept = 0;
  virtual BatchResult receive_many(std::span<Message> records, Deadline& deadline) noexcept = 0;
  virtual BatchResult consume(const MessageCallback& callback, Deadline& deadline, std::size_t limit) = 0;

  // Ends the holding of a record, whose hold.entry is `entry`. From any thread. Returns the status of the batch's
  // release, if this was its last record; else ok.
  virtual Status end_record(std::uint32_t entry, bool given_back) noexcept = 0;
  // Undoes receive(), whose record is not held any more then: it is the next again.
  virtual void put_back(std::uint32_t entry, std::uint32_t record) noexcept = 0;
  // Gives the batch that is being shown back, if not all of it was.
  virtual void stop() noexcept = 0;
};

}  // namespace ipcq::detail
