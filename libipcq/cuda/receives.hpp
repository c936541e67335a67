// A consumer's messages that kernels read: taken when published, completed and released in the order of their streams.
//
// Each message has an entry in pinned memory, and a copy of its first part in device memory, which kernels read
// (delivered.hpp). A message's end enqueues the write of `released`; a thread of the consumer sees it and releases the
// message. The same thread takes messages for receive_ahead(), in order, and ends every wait that a stream still makes
// when the queue or the broker is gone.
//
// At any time one thread takes messages: the poll thread while a receive_ahead() is unresolved, else the consumer's
// own. `mutex_` guards the lists and the states' bookkeeping; an unresolved state's message is the poll thread's.
// Nobody calls the driver with the lock held: a call on a full stream returns when the stream moves, which may take the
// poll thread.
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
  std::shared_ptr<ipcq::detail::ReceiveSide> side;  // while a handle is out
  ipcq::detail::PinnedEntry* pinned = nullptr;
  ipcq::detail::Delivered* on_device = nullptr;
  unsigned long long* decided = nullptr;  // Payload's
  std::uint64_t payload_use = 0;
  bool may_be_lost = false;                  // the payload was still to come when it was received
  bool delivered = false;                    // the header is enqueued
  const ipcq::detail::Word* tomb = nullptr;  // of the message's slot, if it has one
  const ipcq::detail::View* view = nullptr;
  Stream stream = nullptr;
  ipcq::Message message;  // held while the state is in use, unless nothing came
  ipcq::detail::Descriptor descriptor;
  std::uint64_t use = 0;        // counts the uses of the entry
  bool taken = false;           // receive_ahead: the message is there, perhaps not yet processed
  bool awaited = false;         // in awaited_
  ipcq::detail::OpenWait wait;  // until it is resolved
  std::atomic<bool> resolved{false};

  // What the CPU has filled in.
  const Header& known() const noexcept { return pinned->content.header; }
  // Whether its payload will never come, as far as that is decided.
  bool is_lost() const noexcept { return tomb != nullptr && tomb->load(std::memory_order_acquire) >= descriptor.lease; }
};

}  // namespace ipcq::cuda::detail

namespace ipcq::detail {

class ReceiveSide final : public DeviceSide, public std::enable_shared_from_this<ReceiveSide> {
 public:
  using MessageState = cuda::detail::MessageState;

  explicit ReceiveSide(ConsumerCore& core);
  ~ReceiveSide() override;
  // That of the consumer, made at the first use. Throws UsageError.
  static ReceiveSide& of(ConsumerCore& core);

  Result<cuda::Message> receive(cuda::Stream stream, Duration timeout);
  Result<cuda::Message> receive_ahead(cuda::Stream stream);
  void end(MessageState& state) noexcept;
  // Null where it is not on the device and cannot be brought there.
  const cuda::Header* header(MessageState& state) noexcept;

  Status settle(Duration timeout) noexcept override;
  void close() noexcept override;

 private:
  const View& prepare(cuda::Stream stream);
  const DeliveredEntries& delivered_in(const View& view);
  MessageState* reserve(const View& view, cuda::Stream stream);              // null: all are in use
  MessageState* take_entry(const View& view, cuda::Stream stream) noexcept;  // the same, takes mutex_
  void free(MessageState& state) noexcept;
  // The queue closed or the broker dead; ok otherwise.
  Status gone() const noexcept;

  // Whether the payload is there to be read, as far as a CPU can see now.
  bool is_complete(const Descriptor& d, std::uint64_t ticket) const noexcept;
  bool is_complete(const MessageState& state) const noexcept;
  bool enqueue_wait_for(MessageState& state);          // false: nothing to wait for
  bool enqueue_release(MessageState& state) noexcept;  // false: the message is held until the consumer is closed
  // What is known before the payload is complete, and after.
  void fill_header(MessageState& state, Status status) noexcept;
  void note_whether_lost(MessageState& state) noexcept;
  // Behind the wait: the header goes to the device.
  CUresult enqueue_delivery(MessageState& state) noexcept;
  // An enqueue of the caller's has failed: the message goes back to its group.
  void abandon(MessageState& state) noexcept;

  // The following with mutex_ held.
  bool harvest() noexcept;  // true: something was released
  // The first receive_ahead(). waited: it had time to come; full: the consumer holds all that it may.
  enum class Advance : std::uint8_t { looked, waited, full };
  Advance advance(std::unique_lock<std::mutex>&) noexcept;
  void resolve(Status status) noexcept;  // it
  bool gone_for_good() noexcept;         // and whoever worked on what was published has had time to finish
  void prune_awaited() noexcept;
  void end_waits() noexcept;
  // Once closed: looks after waits for payloads. True when none is left.
  bool guard() noexcept;
  std::uint64_t look() noexcept;  // takes mutex_
  void give_up_broken() noexcept;

  ConsumerCore* core_;  // not used once closed
  SessionCore* session_;
  EndpointMemory memory_;
  PublishedView<SharedAtomics> ring_;
  std::size_t entries_;
  std::unique_ptr<HostBlock> block_;
  // Of each context that the caller's streams are of; more than one is rare.
  std::vector<std::pair<const View*, std::unique_ptr<DeliveredEntries>>> delivered_;
  std::unique_ptr<MessageState[]> states_;
  const std::uint32_t epoch_ = fork_epoch();

  std::mutex mutex_;
  std::vector<MessageState*> spare_;
  std::deque<MessageState*> ahead_;       // not resolved, in order
  std::vector<MessageState*> releasing_;  // ended, the stream is not there yet
  // Of receive(): a stream may still wait for the payload, also when the message is no longer ours.
  struct Awaited {
    MessageState* state;  // null: abandoned
    Descriptor descriptor;
    std::uint64_t ticket;
    OpenWait wait;
  };
  std::vector<Awaited> awaited_;
  std::uint64_t moved_at_ = 0;              // ns
  std::uint64_t gone_since_ = 0;            // ns; 0: not gone
  std::atomic<std::size_t> unresolved_{0};  // size of ahead_
  bool waits_for_publication_ = false;      // the poll thread, without the lock
  std::atomic<bool> roused_{false};         // not to wait any longer: something was ended
  bool closing_ = false;
  bool closed_ = false;  // the caller's
  std::unique_ptr<PollThread> poll_thread_;
};

}  // namespace ipcq::detail
