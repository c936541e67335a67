// Producer: publishes messages to one queue. One per thread; not thread-safe. Must not outlive its Session.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "ipcq/message.hpp"

namespace ipcq {

namespace detail {
struct CudaAccess;
}

struct ProducerOptions {
  Wait wait = Wait::hybrid();
  Duration wait_for = Duration::zero();  // how long to wait for the queue to appear
  bool cuda = false;                     // this producer uses <ipcq/cuda.hpp>
};

class IPCQ_API Producer {
 public:
  // Made by Session::producer().
  explicit Producer(std::unique_ptr<detail::ProducerCore> core) noexcept;
  Producer(Producer&&) noexcept;
  Producer& operator=(Producer&&) noexcept;
  // close(). While an exception that was thrown since the producer was opened unwinds the stack, the stream is broken
  // off instead: consumers see no end. On an error throw through the producer or break_off(); to return ends the
  // stream.
  ~Producer();

  // Borrows a free slot of slot_bytes(), waiting `timeout` at most as the queue's backpressure says.
  // Statuses: ok, full (policy reject), timeout, closed, peer_dead, interrupted.
  Result<Loan> loan(Duration timeout = kForever) noexcept;

  // Copies `bytes` into one message. Up to inline_bytes() travel inside the ring and need no slot.
  Status send(std::span<const std::byte> bytes, Duration timeout = kForever) noexcept;
  Status send(const void* data, std::size_t length, Duration timeout = kForever) noexcept {
    return send({static_cast<const std::byte*>(data), length}, timeout);
  }

  // Sends the messages in order, taking places in the queue in batches. Stops at the first that fails.
  BatchResult send_many(std::span<const std::span<const std::byte>> batch, Duration timeout = kForever) noexcept;

  // Publishes a received message to this producer's queue and releases it there, without copying the payload when both
  // queues share a pool (UsageError otherwise). On any status but `ok` the message stays held. The first queue's slot
  // is free again when both queues are done with it. A crash in between may deliver the message once more.
  Status forward(Message& message, Duration timeout = kForever);

  // Largest message, in bytes, and largest that needs no slot.
  std::size_t max_bytes() const noexcept;
  std::size_t slot_bytes() const noexcept;
  static std::size_t inline_bytes() noexcept;
  // This producer's id, as Message::producer() shows it.
  std::uint32_t id() const noexcept;

  // Ends this producer's stream cleanly, whatever calls came to before. Idempotent; the destructor calls it.
  void close() noexcept;
  // Closes, but does not end the stream: for a producer that has failed half way. Consumers go on waiting, as after its
  // death, until another producer opens or end_of_stream(). An exception that leaves the producer's scope does the
  // same.
  void break_off() noexcept;

 private:
  friend struct detail::CudaAccess;
  void close(bool broken_off) noexcept;

  std::unique_ptr<detail::ProducerCore> core_;
};

}  // namespace ipcq
