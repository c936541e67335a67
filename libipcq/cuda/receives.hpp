// A consumer's messages that kernels read: taken when published, and released in the order of their streams.
//
//   receive():       spare -> taken; stream waits for the payload ------------------> end() -> releasing -> spare
//   receive_ahead(): spare -> ahead; stream waits for `resolved` -> the poll thread resolves it -> end() -> ...
//
// Each message has an entry in pinned memory, whose first part is copied to device memory for kernels (delivered.hpp).
// end() has the stream write `released`; the poll thread sees the word and releases the message. The poll thread also
// takes the messages of receive_ahead(), in order, and ends the waits of streams when the queue or the broker has
// ended.
//
// Thread safety: the public functions are for the consumer's thread. mutex_ guards the lists and the states'
// bookkeeping, which the poll thread uses too. Invariants: one thread at a time takes messages: the poll thread while a
// receive_ahead() is unresolved, else the consumer's; the poll thread owns an unresolved state's message. No thread
// calls the driver with the lock held: a call on a full stream may return only after the poll thread, which needs the
// lock, has acted.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "client/consumer_core.hpp"
#include "deferred_unpin.hpp"
#include "delivered.hpp"
#include "endpoint_memory.hpp"
#include "host_block.hpp"
#include "layout/pinned_entry.hpp"
#include "poll_thread.hpp"

namespace ipcq::detail {

class ReceiveSide;

}  // namespace ipcq::detail

namespace ipcq::cuda::detail {

struct MessageState {
  std::shared_ptr<ipcq::detail::ReceiveSide> side;  // set while the user has the cuda::Message
  ipcq::detail::PinnedEntry* pinned = nullptr;
  ipcq::detail::Delivered* on_device = nullptr;
  unsigned long long* decided = nullptr;  // Payload's
  std::uint64_t payload_use = 0;
  bool may_be_lost = false;                  // the payload was incomplete when the message was received
  bool delivered = false;                    // the copy of the header to the device is enqueued
  const ipcq::detail::Word* tomb = nullptr;  // of the message's slot, if it has one
  const ipcq::detail::View* view = nullptr;
  Stream stream = nullptr;
  ipcq::Message message;  // empty also when receive_ahead() was resolved without a message
  ipcq::detail::Descriptor descriptor;
  std::uint64_t use = 0;        // counts the uses of the entry
  bool taken = false;           // receive_ahead(): has its message, which may not be processed yet
  bool awaited = false;         // is in awaited_
  ipcq::detail::OpenWait wait;  // of receive_ahead(), until it is resolved
  std::atomic<bool> resolved{false};

  // As the CPU has filled it in.
  const Header& known() const noexcept { return pinned->content.header; }
  // Whether it is known by now that the payload will never be complete.
  bool is_lost() const noexcept { return tomb != nullptr && tomb->load(std::memory_order_acquire) >= descriptor.lease; }
};

}  // namespace ipcq::cuda::detail

namespace ipcq::detail {

class ReceiveSide final : public DeviceSide, public std::enable_shared_from_this<ReceiveSide> {
 public:
  using MessageState = cuda::detail::MessageState;

  explicit ReceiveSide(ConsumerCore& core);
  ~ReceiveSide() override;
  // The consumer's, made by the first call. Throws UsageError: a forked child, or not opened for ipcq::cuda.
  static ReceiveSide& of(ConsumerCore& core);

  Result<cuda::Message> receive(cuda::Stream stream, Deadline& deadline);
  Result<cuda::Message> receive_ahead(cuda::Stream stream);
  void end(MessageState& state) noexcept;
  // The header in device memory, copied there if need be. Null when that cannot be enqueued: logged.
  const cuda::Header* header(MessageState& state) noexcept;

  Status await_receives(Deadline& deadline) noexcept override;
  void close() noexcept override;

 private:
  const View& prepare(cuda::Stream stream);
  const DeliveredEntries& delivered_in(const View& view);
  MessageState* reserve(const View& view, cuda::Stream stream);              // null: all are in use
  MessageState* take_entry(const View& view, cuda::Stream stream) noexcept;  // the same, takes mutex_
  void free(MessageState& state) noexcept;
  // closed or peer_dead when the queue or the broker has ended; else ok.
  Status end_status() const noexcept;

  // Whether the payload can be read now, as the words in host memory tell.
  bool is_complete(const Descriptor& d, std::uint64_t ticket) const noexcept;
  bool is_complete(const MessageState& state) const noexcept;
  bool enqueue_wait_for(MessageState& state);          // false: the payload is complete, no wait is enqueued
  bool enqueue_release(MessageState& state) noexcept;  // false: the message is held until the consumer is closed
  void fill_header(MessageState& state, Status status) noexcept;  // all but `lost`
  void note_whether_lost(MessageState& state) noexcept;           // `lost`, once the payload is complete or buried
  // Enqueues the copy of the header to the device, behind the stream's wait.
  CUresult enqueue_delivery(MessageState& state) noexcept;
  // After a failed enqueue: gives the message back to its group.
  void abandon(MessageState& state) noexcept;

  // The following are called with mutex_ held.
  bool harvest() noexcept;  // releases what streams have finished reading. True: some
  // Advances the first receive_ahead(). waited: has waited for a publication; full: the consumer holds all that it may.
  enum class Advance : std::uint8_t { looked, waited, full };
  Advance advance(std::unique_lock<std::mutex>&) noexcept;
  void resolve(Status status) noexcept;  // resolves the first receive_ahead()
  // Whether end_status() has not been ok for so long that unfinished work on published messages has ended.
  bool grace_is_over() noexcept;
  void prune_awaited() noexcept;
  void end_waits() noexcept;
  // These take mutex_ themselves.
  bool guard() noexcept;  // once closed: ends waits for payloads when the queue has ended. True when none is left
  std::uint64_t poll_round() noexcept;  // one round of the poll thread
  void give_up_broken() noexcept;

  ConsumerCore* core_;  // not used once closed
  SessionCore* session_;
  EndpointMemory memory_;
  PublishedView<SharedAtomics> ring_;
  std::size_t entries_;
  std::unique_ptr<HostBlock> block_;
  // For each context of the caller's streams; more than one is rare.
  std::vector<std::pair<const View*, std::unique_ptr<DeliveredEntries>>> delivered_;
  std::unique_ptr<MessageState[]> states_;
  const std::uint32_t epoch_ = fork_epoch();

  std::mutex mutex_;
  std::vector<MessageState*> spare_;
  std::deque<MessageState*> ahead_;       // of receive_ahead(), not resolved, in order
  std::vector<MessageState*> releasing_;  // ended by the user, not yet passed by the stream
  // A stream's wait for a payload (receive()); it may outlast the message.
  struct Awaited {
    MessageState* state;  // null: the message was abandoned
    Descriptor descriptor;
    std::uint64_t ticket;
    OpenWait wait;
  };
  std::vector<Awaited> awaited_;
  std::uint64_t moved_at_ = 0;              // ns
  std::uint64_t ended_since_ = 0;           // ns; 0: not ended
  std::atomic<std::size_t> unresolved_{0};  // size of ahead_
  bool waits_for_publication_ = false;      // the poll thread waits for a publication, with mutex_ released
  std::atomic<bool> roused_{false};         // ends that wait, because a message was ended
  bool closing_ = false;
  bool closed_ = false;  // used by the consumer's thread alone
  std::unique_ptr<PollThread> poll_thread_;
};

}  // namespace ipcq::detail
