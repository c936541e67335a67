// ipcq::cuda: payloads in device memory, in the order of the caller's streams.
//
// Not thread-safe: loans, messages and the functions below belong to the thread of their producer or consumer. A
// Payload or Header may be read by all threads of all kernels.
//
// Blocking: calls do not wait for the GPU, with two exceptions. Loan::publish() waits for its stream if the pool is in
// host memory, where readers access the payload as soon as it is published, or if it repeats a publish that failed. And
// a stream that waits holds about 1000 operations (H200, driver 580); after that any call on it, also the end of a loan
// or a message, blocks until the stream advances.
//
// Open the endpoint with {.cuda = true}. The stream's context decides the device. The first call on it maps the pool
// (milliseconds, once per process), and the first call of each endpoint allocates pinned memory and, for a consumer,
// device memory. Make both, and create your streams, before you launch a kernel that stays and before a
// receive_ahead(): while a kernel runs or a stream waits, the driver may keep a call that creates a stream, allocates
// or loads until that has ended (seen with cuStreamCreate on an H200, driver 580). A pool that cannot be mapped there
// is used through its mirror in host memory, and the session's log callback is told; without a mirror: BackendError.
//
//   auto v = ipcq::cuda::loan(p, stream);
//   fill<<<g, b, 0, stream>>>(v->device(), n);
//   check(v->publish(n));                       // enqueued behind fill; nothing waits
//
//   auto m = ipcq::cuda::receive(c, stream);    // published; the stream waits until it is complete and processed
//   use<<<g, b, 0, stream>>>(m->payload());     // every thread may ask payload.status(), data and length
//                                               // released behind use when m goes out of scope
//
// A stream that captures a graph is refused: each launch of the graph would repeat the operations on one message.
// Capture the kernels alone, between these calls. A loan or message that ends during a capture is kept until its
// endpoint closes.
//
// A stream must outlive its loans and messages, because their end is enqueued on it. A session must end before its
// device is reset (cudaDeviceReset()): afterwards its calls throw UsageError, and payloads that were published and not
// complete are lost. Endpoints that are open when the process exits, such as a global producer, are closed before CUDA
// unloads, as by close(), if they belong to the thread that exits.
//
// Streams of one process may share a hardware queue, in which a waiting stream blocks the next: use few, or raise
// CUDA_DEVICE_MAX_CONNECTIONS (8 by default, 2 under MPS; 32 at most) before the process' first CUDA call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "ipcq/consumer.hpp"
#include "ipcq/handler.hpp"
#include "ipcq/producer.hpp"

#pragma push_macro("Status")  // Xlib's, for int
#undef Status

struct CUstream_st;

namespace ipcq::cuda {

// A cudaStream_t or CUstream; null: the default stream of the current context.
using Stream = CUstream_st*;

// A message as a kernel takes it: by value. Copies are the same message. Valid for kernels that are enqueued on the
// message's stream between the receive and the message's end.
struct Payload {
  const std::byte* data = nullptr;  // on the stream's device
  std::uint64_t length = 0;         // bytes
  std::uint64_t sequence = 0;       // as Message::sequence()

  // For device code; host code calls Message::status(). `data` may be read only after ok; for the others see
  // Header::status(). Every thread may call it: one of them reads host memory across PCIe, and its result holds for all
  // threads of all kernels. The others spin until then, for about a trip across PCIe.
  IPCQ_HOST_DEVICE Status status() const noexcept;

  // For status() only. The payload is lost if `*tomb`, in pinned host memory, has reached `lease`. The first thread
  // that asks stores the result to `*decided`, in device memory: 4 x `use`, plus 2 once decided, plus 1 if lost.
  std::uint32_t state = 0;              // ipcq::Status at the receive; final unless it is ok and there is a `tomb`
  const std::uint64_t* tomb = nullptr;  // null: the payload was complete at the receive
  std::uint64_t lease = 0;
  unsigned long long* decided = nullptr;
  std::uint64_t use = 0;  // of `*decided`; no other message of the process has this number
};

inline IPCQ_HOST_DEVICE Status Payload::status() const noexcept {
  const auto known = static_cast<Status>(state);
  if (known != Status::ok || tomb == nullptr) return known;
#if defined(__CUDA_ARCH__)
  const auto* const look = static_cast<const volatile unsigned long long*>(decided);
  unsigned long long seen = *look;
  if (seen >> 2 != use) {
    const unsigned warp = __activemask();  // one of these threads asks
    unsigned lane = 0;
    asm("mov.u32 %0, %%laneid;" : "=r"(lane));
    if (lane + 1 == static_cast<unsigned>(__ffs(static_cast<int>(warp))) &&
        atomicCAS(decided, seen, use << 2) == seen) {
      const bool lost = *static_cast<const volatile std::uint64_t*>(tomb) >= lease;
      *static_cast<volatile unsigned long long*>(decided) = use << 2 | 2 | (lost ? 1 : 0);
    }
  }
  while (((seen = *look) & 2) == 0 || seen >> 2 != use) {  // the thread that asks waits for no other
  }
  return (seen & 1) != 0 ? Status::peer_dead : Status::ok;
#else
  return *tomb >= lease ? Status::peer_dead : Status::ok;
#endif
}

// A message behind a pointer, for a kernel that is launched before the message is there (receive_ahead()). It is in
// memory of the stream's device and valid in the order of the stream, from the receive to the message's end. It does
// not change meanwhile, so all threads of all kernels observe the same.
struct Header {
  const std::byte* data = nullptr;  // on the stream's device
  std::uint64_t length = 0;         // bytes
  std::uint64_t sequence = 0;       // as Message::sequence()
  std::uint32_t state = 0;          // ipcq::Status of the receive
  std::uint32_t lost = 0;           // not 0: the payload will never be complete

  // `data` may be read only after ok. peer_dead while `state` is ok: there is a message whose payload will never be
  // complete, because its producer (process or GPU context) or the queue's runner died, the queue closed, or the broker
  // died. Else `state`, the status of a receive_ahead() without a message: end, closed, peer_dead (the broker died),
  // interrupted.
  IPCQ_HOST_DEVICE Status status() const noexcept {
    const auto s = static_cast<Status>(state);
    return s == Status::ok && lost != 0 ? Status::peer_dead : s;
  }
};

namespace detail {
struct LoanState;
struct MessageState;
}  // namespace detail

// A free slot on loan, to be written by kernels of one stream. Move-only; must not outlive its Session. An empty object
// has no slot.
class IPCQ_API Loan {
 public:
  Loan() noexcept = default;
  explicit Loan(detail::LoanState* state) noexcept : state_(state) {}
  Loan(Loan&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  Loan& operator=(Loan&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~Loan();  // if unpublished: enqueues the return of the slot on the stream

  // The payload: capacity() bytes that kernels of the stream may write, aligned to 128 bytes, until publish(). Contents
  // are unspecified. In device memory, unless the pool is reached in host memory. Null and 0 for an empty object.
  std::byte* device() const noexcept;
  std::size_t capacity() const noexcept;

  // Gives the message metadata, as ipcq::Loan::set_metadata(): the CPU writes it, at once.
  [[nodiscard]] Status set_metadata(std::span<const std::byte> bytes) noexcept;

  // Publishes the first `length` bytes with the contents that they have when the stream reaches this point, and takes a
  // place in the queue's order now. Waits on the CPU for a free line, and in the cases above for the stream, `timeout`
  // at most. On ok the object is empty; on any other status the loan is kept and may be published again. Statuses as
  // ipcq::Loan::publish(); closed also if the stream captures or its context has failed, with a line to the session's
  // log callback.
  [[nodiscard]] Status publish(std::size_t length, Timeout timeout = kForever) noexcept;

 private:
  detail::LoanState* state_ = nullptr;
};

// A message that kernels of one stream may read. Move-only; must not outlive its Session. Its end enqueues the release
// on that stream. An empty object has no message.
class IPCQ_API Message {
 public:
  Message() noexcept = default;
  explicit Message(detail::MessageState* state) noexcept : state_(state) {}
  Message(Message&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  Message& operator=(Message&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~Message();
  explicit operator bool() const noexcept { return state_ != nullptr; }

  // The message for kernels. Until resolved() its status() is empty.
  Payload payload() const noexcept;
  // Address on the device, for kernels enqueued after this call. After receive() the first call enqueues a kernel that
  // fills it in, about 2 us of the stream; null if that fails, as on a stream that captures, and once the consumer is
  // closed.
  const Header* header() const noexcept;
  // For the CPU. Once the stream has passed the receive: the same as header()->status() for kernels. Before that, ok
  // means that the payload may still be incomplete. empty: not resolved(). not_held: an empty object.
  Status status() const noexcept;
  // As the members of ipcq::Message, and the payload's address on the device. Null and 0 without a message and until
  // resolved(). The payload may be incomplete, or never be completed: a kernel calls payload().status().
  const std::byte* device() const noexcept;
  std::size_t length() const noexcept;
  std::uint64_t sequence() const noexcept;
  std::uint32_t producer() const noexcept;
  std::uint64_t ticket() const noexcept;
  std::uint64_t published_at_ns() const noexcept;
  // As ipcq::Message::metadata(), readable by the CPU before the payload is complete.
  std::span<const std::byte> metadata() const noexcept;

  // Whether the outcome of the receive is known: always after receive(); after receive_ahead() once a message is
  // complete, or there will be none.
  bool resolved() const noexcept;

 private:
  detail::MessageState* state_ = nullptr;
};

// Borrows a slot for kernels of `stream`. Waits on the CPU for a free one, as Producer::loan(). Statuses: ok, full,
// timeout, closed, peer_dead, interrupted; too_large: the queue has no slots. Throws UsageError (not opened with
// {.cuda = true}, the stream captures, no current context, device reset, use after fork) and BackendError (no driver,
// or the pool can neither be mapped nor reached through a mirror).
IPCQ_API Result<Loan> loan(Producer& producer, Stream stream, Timeout timeout = kForever);

// Takes the group's next published message and lets `stream` wait until its payload is complete (and processed, if
// there is a handler). Waits on the CPU for the publication only, `timeout` at most. Statuses as Consumer::receive().
// Throws as loan(), and a message already taken goes back to its group; and SystemError if the thread that ends the
// streams' waits cannot be started.
IPCQ_API Result<Message> receive(Consumer& consumer, Stream stream, Timeout timeout = kForever);

// The same without a wait on the CPU: `stream` waits for the publication too, and header() gives kernels the status and
// the message. Messages are taken in the order of the calls; a later receive() of the consumer first waits for these.
// Statuses: ok; full (QueueOptions::held messages of ipcq::cuda are held or waited for; messages held by
// Consumer::receive() delay these instead, until one is released); closed; peer_dead. Throws as receive().
IPCQ_API Result<Message> receive_ahead(Consumer& consumer, Stream stream);

}  // namespace ipcq::cuda

#pragma pop_macro("Status")
