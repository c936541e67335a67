// ipcq::cuda: payloads in device memory, in the order of the caller's streams. Calls do not wait for the GPU, with
// these exceptions: Loan::publish() into a pool in host memory, whose readers look at the payload as soon as it is
// published, and one that follows a publish that failed, wait for the stream; and a stream that waits takes about 1000
// operations, after which any call on it, also the end of a loan or a message, blocks until it moves.
//
// Open the endpoint with {.cuda = true}. The stream's context decides the device; the first call on it maps the pool
// (milliseconds, once per process), and the first call of each endpoint takes some pinned and, for a consumer, device
// memory, so make both before you launch a kernel that stays. A pool that cannot be mapped there is used through its
// mirror in host memory, which the session's log callback is told; without one: BackendError.
//
//   auto v = ipcq::cuda::loan(p, stream);
//   fill<<<g, b, 0, stream>>>(v->device(), n);
//   check(v->publish(n));                       // enqueued behind fill; nothing waits
//
//   auto m = ipcq::cuda::receive(c, stream);    // published; the stream waits until it is complete and processed
//   use<<<g, b, 0, stream>>>(m->payload());     // every thread may ask payload.status(), data and length
//                                               // released behind use when m goes out of scope
//
// A stream that captures a graph is refused: the graph's launches would repeat what is for one message. Capture the
// kernels alone, between these calls; a loan or message that ends within a capture is kept until its endpoint is
// closed.
//
// A stream outlives its loans and messages: they end before it is destroyed, because their end is enqueued on it.
// Sessions end before their device is reset (cudaDeviceReset()): afterwards their calls throw UsageError, and what was
// published and not written is lost. What is still open when the process exits, such as a producer that is a global, is
// closed before CUDA unloads, as by close(), if it belongs to the thread that exits.
//
// Streams of one process may share a hardware queue, where one that waits holds up the next: use few, or raise
// CUDA_DEVICE_MAX_CONNECTIONS (8 by default, 2 under MPS; 32 at most) before the process' first CUDA call. Handles
// belong to the thread of their producer or consumer.
#pragma once

#include <cstddef>
#include <cstdint>
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

// A message of receive() as kernels take it: by value. Copies are the same message; good for kernels that its stream
// gets to between the receive and the message's end.
struct Payload {
  const std::byte* data = nullptr;  // on the stream's device
  std::uint64_t length = 0;         // bytes
  std::uint64_t sequence = 0;       // as Message::sequence()

  // `data` may be read only after ok. peer_dead: the payload will never be complete, as Header::status(). Every thread
  // may ask: one of them looks across PCIe, and what it finds is so for all threads of all kernels. Nobody in host
  // code: there it is Message::status().
  IPCQ_HOST_DEVICE Status status() const noexcept;

  // How status() knows. Whether it may be lost is said by a word in host memory, and decided in one in device memory:
  // `use` times four, 2 more once it is decided, 1 more if it is lost.
  std::uint32_t state = 0;              // ipcq::Status, as far as it was known
  const std::uint64_t* tomb = nullptr;  // null: it was known
  std::uint64_t lease = 0;
  unsigned long long* decided = nullptr;
  std::uint64_t use = 0;  // of `decided`, by no other message
};

inline IPCQ_HOST_DEVICE Status Payload::status() const noexcept {
  const auto known = static_cast<Status>(state);
  if (known != Status::ok || tomb == nullptr) return known;
#if defined(__CUDA_ARCH__)
  const auto* const look = static_cast<const volatile unsigned long long*>(decided);
  unsigned long long seen = *look;
  if (seen >> 2 != use) {
    const unsigned warp = __activemask();  // who is here: one of them asks
    unsigned lane = 0;
    asm("mov.u32 %0, %%laneid;" : "=r"(lane));
    if (lane + 1 == static_cast<unsigned>(__ffs(static_cast<int>(warp))) &&
        atomicCAS(decided, seen, use << 2) == seen) {
      const bool lost = *static_cast<const volatile std::uint64_t*>(tomb) >= lease;
      *static_cast<volatile unsigned long long*>(decided) = use << 2 | 2 | (lost ? 1 : 0);
    }
  }
  while (((seen = *look) & 2) == 0 || seen >> 2 != use) {  // another thread is at it, and waits for nobody
  }
  return (seen & 1) != 0 ? Status::peer_dead : Status::ok;
#else
  return *tomb >= lease ? Status::peer_dead : Status::ok;
#endif
}

// The same behind a pointer, for what receive_ahead() brings. In memory of the stream's device, where every thread may
// read it as it likes; valid in the order of the stream, from the receive to the message's end. It does not change
// meanwhile, so all threads of all kernels see the same.
struct Header {
  const std::byte* data = nullptr;  // on the stream's device
  std::uint64_t length = 0;         // bytes
  std::uint64_t sequence = 0;       // as Message::sequence()
  std::uint32_t state = 0;          // ipcq::Status: what the receive came to
  std::uint32_t lost = 0;           // not 0: the payload will never come

  // `data` may be read only after ok. peer_dead while `state` is ok: there is a message, but its payload will never be
  // complete: its producer (process or GPU context) or the queue's runner died before, or the queue closed or the
  // broker died. Else `state`, what receive_ahead() came to, without a message: end, closed, peer_dead (the broker
  // died), interrupted.
  IPCQ_HOST_DEVICE Status status() const noexcept {
    const auto s = static_cast<Status>(state);
    return s == Status::ok && lost != 0 ? Status::peer_dead : s;
  }
};

namespace detail {
struct LoanState;
struct MessageState;
}  // namespace detail

// A free slot on loan, to be written by kernels of one stream.
class IPCQ_API Loan {
 public:
  Loan() noexcept = default;
  explicit Loan(detail::LoanState* state) noexcept : state_(state) {}
  Loan(Loan&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  Loan& operator=(Loan&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~Loan();  // unpublished: the slot goes back once the stream has passed this point

  // The payload: capacity() bytes of device memory, aligned to 128 bytes. Contents are unspecified.
  std::byte* device() const noexcept;
  std::size_t capacity() const noexcept;

  // Publishes the first `length` bytes as they will be when the stream gets here. Statuses as ipcq::Loan::publish();
  // closed also where the stream captures or its context has failed, which the session's log callback is told.
  [[nodiscard]] Status publish(std::size_t length, Timeout timeout = kForever) noexcept;

 private:
  detail::LoanState* state_ = nullptr;
};

// A message that kernels of one stream may read. Its end enqueues the release on that stream.
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

  // For kernels. The CPU asks status() and the calls below. Of receive_ahead() there is a payload() once resolved().
  Payload payload() const noexcept;
  // In device memory. Of receive() it is brought there by a kernel of the first call's, about 2 us of the stream: the
  // stream must not capture then (null), and kernels that are enqueued before know nothing of it.
  const Header* header() const noexcept;
  // On the CPU, once the stream has passed the receive, what header()->status() is for kernels; empty before
  // resolved(), and ok between that and the end of a payload that is still to come.
  Status status() const noexcept;
  // The payload on the stream's device, its bytes and its number among those of its producer. Null and 0 after
  // receive_ahead() until resolved(). What they name may yet turn out never to be written: a kernel asks
  // payload().status().
  const std::byte* device() const noexcept;
  std::size_t length() const noexcept;
  std::uint64_t sequence() const noexcept;
  std::uint32_t producer() const noexcept;
  std::uint64_t ticket() const noexcept;
  std::uint64_t published_at_ns() const noexcept;

  // Whether it is known what this receive came to: always after receive(). Then status() says what.
  bool resolved() const noexcept;

 private:
  detail::MessageState* state_ = nullptr;
};

// Borrows a slot for kernels of `stream`. Waits on the CPU for a free one, as Producer::loan(). Throws UsageError (not
// opened with {.cuda = true}, or the stream captures), BackendError (the pool can neither be mapped nor reached through
// a mirror).
IPCQ_API Result<Loan> loan(Producer& producer, Stream stream, Timeout timeout = kForever);

// Takes the group's next published message and lets `stream` wait until its payload is complete (and processed, with a
// handler). Waits on the CPU for the publication only. Statuses as Consumer::receive(). Throws as loan(), and
// SystemError where the system has no thread to give, which ends the waits that nobody else would.
IPCQ_API Result<Message> receive(Consumer& consumer, Stream stream, Timeout timeout = kForever);

// The same without any wait on the CPU: `stream` waits for the publication too, and header() tells kernels what came.
// Taken in the order of the calls, together with receive(). Statuses: ok, full (QueueOptions::held of these are held or
// waited for; what receive() of the consumer holds besides makes them wait for its release), closed, peer_dead. Throws
// as receive().
IPCQ_API Result<Message> receive_ahead(Consumer& consumer, Stream stream);

}  // namespace ipcq::cuda

#pragma pop_macro("Status")
