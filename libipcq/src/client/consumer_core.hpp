// The consumer's data path: receive, release, give back. docs/design/ring.md, "Receive".
#pragma once

#include <atomic>
#include <memory>

#include "base/deadline.hpp"
#include "client/session_core.hpp"
#include "ipcq/consumer.hpp"
#include "queue/device_side.hpp"

namespace ipcq::detail {

class ConsumerCore {
 public:
  ConsumerCore(std::shared_ptr<SessionCore> session, Attachment attachment, const ConsumerOptions& options);
  ~ConsumerCore();
  ConsumerCore(const ConsumerCore&) = delete;
  ConsumerCore& operator=(const ConsumerCore&) = delete;

  Status receive(Message& message, Duration timeout) noexcept;  // into an empty message
  BatchResult receive_many(std::span<Message> batch, Duration timeout) noexcept;

  // For ipcq::cuda: takes a message of a GPU's queue when it is published; `d` says whether it is processed
  // (kBeforeExecutor). In one thread at a time, and not while receive() runs. Once `roused`, it times out.
  IPCQ_INTERNAL_API Status receive_early(Message& message, Descriptor& d, Duration timeout,
                                         const std::atomic<bool>* roused = nullptr) noexcept;
  // After `roused` was set: wakes who waits there. From any thread.
  IPCQ_INTERNAL_API void rouse_early() noexcept;
  const std::shared_ptr<PoolMap>& shared_pool() const noexcept { return pool_; }
  const std::shared_ptr<QueueMap>& queue() const noexcept { return queue_; }
  bool uses_cuda() const noexcept { return uses_cuda_; }
  std::shared_ptr<DeviceSide>& device_side() noexcept { return device_side_; }

  // From any thread.
  Status release(Message& message) noexcept;
  Status nack(Message& message) noexcept;

  void close() noexcept;
  // The first part of close(): of the messages that streams read, those whose reading ends soon are released.
  void close_device_side() noexcept {
    if (device_side_) device_side_->close();
  }
  // Whether messages of this consumer are still out.
  bool holds_any() const noexcept;
  const std::shared_ptr<SessionCore>& shared_session() const noexcept { return keep_; }

  // For forward().
  const PoolMap& pool() const noexcept { return *pool_; }
  unsigned group() const noexcept { return member_.group(); }
  Descriptor descriptor(const Message& message) const noexcept;
  // Ends the holding; the slot bit has a new owner.
  bool hand_over(Message& message) noexcept;
  bool is_forked_child() const noexcept { return epoch_ != fork_epoch(); }
  bool is_unusable() const noexcept { return closed_.load(std::memory_order_relaxed) || is_forked_child(); }

 private:
  template <class Member>
  Status take(Member& member, std::span<std::uint32_t> entries, Deadline& deadline, std::size_t& taken,
              const std::atomic<bool>* roused = nullptr) noexcept;
  bool takes_early() const noexcept { return queue_->on_device(); }
  enum class Payload : std::uint8_t { there, lost, not_yet };
  Payload await_payload(std::uint64_t ticket, Descriptor& d, Deadline& deadline) const noexcept;
  Status go_on(Deadline& deadline) const noexcept;
  Status settle_device_side(Deadline& deadline) noexcept;
  std::uint64_t await_batch(std::size_t room) const noexcept;
  bool is_at_end() const noexcept;
  // With `early`, the message may be incomplete, and its descriptor is left there.
  Payload fill(Message& message, std::uint32_t entry, std::uint8_t unwinding, Deadline& deadline,
               Descriptor* early = nullptr) noexcept;
  void show_counters() const noexcept;
  void after_release(bool slot_freed) noexcept;
  void put_back(std::uint32_t entry) noexcept;  // it was not delivered
  void after_return() noexcept;

  std::shared_ptr<SessionCore> keep_;  // until closed: a retired core lies in the session itself
  SessionCore* session_;               // not used once closed
  std::shared_ptr<QueueMap> queue_;
  std::shared_ptr<PoolMap> pool_;
  Ring<SharedAtomics> ring_;
  GroupMember<SharedAtomics> member_;
  GroupMember<SharedAtomics, PublishedView<SharedAtomics>> early_;
  Endpoint& endpoint_;
  std::uint32_t client_;
  Wait wait_;
  Until until_;
  std::uint64_t grace_until_ = 0;  // a stream that had ended before this consumer came does not count before this (ns)
  std::uint64_t stale_end_ = 0;    // end_count of that stream
  std::uint64_t messages_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t redelivered_ = 0;
  std::uint64_t damaged_ = 0;
  bool took_over_ = false;  // messages that others had given back, in their entries
  bool uses_cuda_ = false;
  std::atomic<bool> closed_{false};
  const std::uint32_t epoch_ = fork_epoch();
  std::shared_ptr<DeviceSide> device_side_;  // once ipcq::cuda is used
};

}  // namespace ipcq::detail
