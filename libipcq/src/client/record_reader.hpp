// What the receiving calls do in a queue with batch=records: they show the records of a batch (ipcq/records.hpp) one by
// one. Messages of another kind pass as they are.
//
// For the consumer's thread, but for end_record(). Refers to the consumer's core, which owns it.
//
// Invariant: a batch is one held message. It is released when the last of its records has ended and no more of them
// will be shown; given back instead, once a record of it was given back.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/deadline.hpp"
#include "client/record_source.hpp"
#include "ipcq/consumer.hpp"
#include "ipcq/records.hpp"

namespace ipcq::detail {

class ConsumerCore;

// Has the core's calls show records, if its queue has batch=records. Before any of its calls.
void show_records(ConsumerCore& core);

class RecordReader final : public RecordSource {
 public:
  // `held`: how many messages the consumer may hold.
  RecordReader(ConsumerCore& core, std::uint32_t held);
  ~RecordReader() override;

  Status receive(Message& record, Deadline& deadline) noexcept override;
  BatchResult receive_many(std::span<Message> records, Deadline& deadline) noexcept override;
  BatchResult consume(const MessageCallback& callback, Deadline& deadline, std::size_t limit) override;
  Status end_record(std::uint32_t entry, bool given_back) noexcept override;
  void put_back(std::uint32_t entry, std::uint32_t record) noexcept override;
  void stop() noexcept override;

 private:
  static constexpr std::uint32_t kNoBatch = ~std::uint32_t{0};

  struct OpenBatch {
    Message whole;
    std::atomic<bool> in_use{false};      // false: free for another batch
    std::atomic<bool> given_back{false};  // of it, or of a record
    std::atomic<std::uint32_t> left{0};   // records that are held, and one more while it is being shown
  };

  // Makes sure that there is a next record, or takes a message of another kind to `other`.
  Status advance(Message& other, Deadline& deadline) noexcept;
  // Begins to show the records of `whole`. Not ok: it is no batch, and was not touched (`none`); or cannot be shown.
  enum class Opened : std::uint8_t { yes, none, damaged, too_many };
  Opened open(Message& whole) noexcept;
  // Sets what distinguishes the next record from others of the batch that is being shown. False: there is none.
  bool next(MessageView& record) noexcept;
  void leave(bool given_back) noexcept;
  bool show_batch(const MessageCallback& callback, std::size_t limit, std::size_t& count);
  bool show_other(const MessageCallback& callback, Message& message, std::size_t& count);

  ConsumerCore& core_;
  const std::uint32_t batches_;
  const std::unique_ptr<OpenBatch[]> open_;
  std::uint32_t shown_ = kNoBatch;  // the batch that is being shown
  MessageView view_;                // of it as a whole
  Records index_;
  std::uint32_t next_ = 0;          // record
  std::uint32_t end_ = 0;           // of the record before it
  std::uint32_t before_ = 0;        // `end_` before the last receive()
  std::uint64_t more_records_ = 0;  // of batches that were not delivered before, but for the first of each
};

}  // namespace ipcq::detail
