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

  // Of OpenBatch::state, beside the number of its records that are held (the bits below). 0: free for another batch.
  static constexpr std::uint32_t kShown = 1u << 31;    // its records are being shown
  static constexpr std::uint32_t kBack = 1u << 30;     // a record, or the batch, was given back: no more is shown
  static constexpr std::uint32_t kDamaged = 1u << 29;  // counted as lost: released in any case
  static constexpr std::uint32_t kEnding = 1u << 28;   // one thread ends its holding
  static constexpr std::uint32_t kHeld = kEnding - 1;

  struct OpenBatch {
    Message whole;
    std::atomic<std::uint32_t> state{0};
  };

  // Changes the state of a batch to next(state), in any thread. Ends the holding of the batch, once, if no record of it
  // is held then, and none will be: it is not being shown, or was given back. Returns the status of that, else ok.
  template <class Next>
  Status change(OpenBatch& batch, const Next& next) noexcept;
  // Takes the message of a batch whose holding this thread ends: the place is free for another then.
  static Message vacate(OpenBatch& batch) noexcept;
  void show_more_records(std::uint64_t count) noexcept;
  // Makes sure that there is a next record, or takes a message of another kind to `other`.
  Status advance(Message& other, Deadline& deadline) noexcept;
  // Begins to show the records of `whole`. Not ok: it is no batch, and was not touched (`none`); or cannot be shown.
  enum class Opened : std::uint8_t { yes, none, damaged, too_many };
  Opened open(Message& whole) noexcept;
  // Whether the batch that is being shown has a next record, and was not given back by another thread. That may end its
  // holding: the state is 0 then, or will be.
  bool has_next() const noexcept {
    return (open_[shown_].state.load(std::memory_order_relaxed) & (kShown | kBack)) == kShown && next_ != index_.size();
  }
  // Sets what distinguishes the next record from others of the batch that is being shown. False: there is none.
  // `MayDrop` false: where none of them was dropped.
  template <bool MayDrop>
  bool next(MessageView& record) noexcept;
  // Moves on to the next record that the handler has not dropped, so that a batch is over after the last such.
  void pass_over_dropped() noexcept;
  // Ends the showing of the batch, if there is one; `damaged`: and counts it as lost, unless it was given back.
  void leave(bool given_back, bool damaged = false) noexcept;
  // Counts one record more as held; `last`: after which none is left to be shown. False: the batch was given back
  // meanwhile.
  bool hold(std::uint32_t batch, bool last) noexcept;
  template <bool MayDrop>
  bool show_some(const MessageCallback& callback, std::size_t limit, std::size_t& count, bool& more);
  bool show_batch(const MessageCallback& callback, std::size_t limit, std::size_t& count);
  bool show_other(const MessageCallback& callback, Message& message, std::size_t& count);

  ConsumerCore& core_;
  const std::uint32_t batches_;
  const std::unique_ptr<OpenBatch[]> open_;
  std::uint32_t shown_ = kNoBatch;  // the batch that is being shown
  MessageView view_;                // of it as a whole
  Records index_;
  bool drops_ = false;              // some of its records were dropped
  std::uint32_t first_ = 0;         // record that was not
  std::uint32_t next_ = 0;          // record
  std::uint32_t end_ = 0;           // of the record before it
  std::uint32_t before_ = 0;        // `end_` before the last receive()
  std::uint64_t more_records_ = 0;  // of batches that were not delivered before, but for the first of each
};

}  // namespace ipcq::detail
