// Session: one process' connection to one broker. Thread-safe, except for moves and destruction.
//
// A forked child must connect anew: any call on an inherited session, producer or consumer that can throw throws
// UsageError there, any other returns Status::closed, and destructors leave the parent's queue untouched.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "ipcq/calls.hpp"
#include "ipcq/consumer.hpp"
#include "ipcq/log.hpp"
#include "ipcq/options.hpp"
#include "ipcq/producer.hpp"
#include "ipcq/typed.hpp"
#include "ipcq/typed_calls.hpp"

namespace ipcq {

namespace detail {
class SessionCore;
}

struct ConnectOptions {
  // Broker name, or path of its control socket. Empty: $IPCQ_BROKER, else "default".
  std::string broker{};
  // How long to wait for the broker to appear.
  Timeout wait_for = Duration::zero();
  LogCallback log{};  // may call this session
};

class IPCQ_API Session {
 public:
  // An empty object, for members: producer() and consumer() throw UsageError. connect() makes a connected one.
  Session() noexcept;
  explicit Session(std::shared_ptr<detail::SessionCore> core) noexcept;
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  // Detaches. Producers, consumers, loans and messages must be gone by then. Waits 10 s at most for the broker's
  // answer, and half a second for GPUs: while a stream of the process waits or a kernel stays, memory that ipcq::cuda
  // has mapped and pinned is given back later; and while a stream waits for a payload that a closed consumer had
  // received, the connection to the broker stays.
  ~Session();

  // Open an endpoint, which the caller owns and which must not outlive this session. Wait for the queue to appear as
  // `wait_for` says, and 10 s at most for each answer of the broker. Where a group is still being dissolved that the
  // consumer is to join, or whose place it needs, consumer() waits for that, up to a second even if `wait_for` is less.
  // interrupt() ends all but the waits for answers. Throw NotFoundError (no such queue within `wait_for`), UsageError
  // (invalid name, no endpoint or group free, messages of another type, a group that is being dissolved still, a lossy
  // group that exists and is not, a queue of calls, an empty session, use after fork), BackendError (payloads in device
  // memory only, and the endpoint is not for ipcq::cuda), PermissionError, LayoutError (segments of another release, or
  // damaged), SystemError (ECONNRESET: the broker is gone; ETIMEDOUT: no answer).
  Producer producer(const std::string& queue, ProducerOptions options = {});
  Consumer consumer(const std::string& queue, ConsumerOptions options = {});

  // The same for a queue of calls (QueueOptions::calls), whose only endpoints these are.
  Client client(const std::string& queue, ClientOptions options = {});
  Server server(const std::string& queue, ServerOptions options = {});

  // The same for messages that hold a T (ipcq/typed.hpp), and for calls of a Q that are answered by an A. Also
  // UsageError: the queue has another type; what is to be sent to it, or comes as a reply to a client, has no room
  // there.
  template <class T>
  TypedProducer<T> producer(const std::string& queue, ProducerOptions options = {}) {
    options.schema = schema_text<T>();
    return TypedProducer<T>(producer(queue, std::move(options)));
  }
  template <class T>
  TypedConsumer<T> consumer(const std::string& queue, ConsumerOptions options = {}) {
    options.schema = schema_text<T>();
    return TypedConsumer<T>(consumer(queue, std::move(options)));
  }
  template <class Q, class A>
  TypedClient<Q, A> client(const std::string& queue, ClientOptions options = {}) {
    options.schema = schema_text<Q>();
    options.result_schema = schema_text<A>();
    options.reply_bytes = std::max(options.reply_bytes, sizeof(A));
    return TypedClient<Q, A>(client(queue, std::move(options)));
  }
  template <class Q, class A>
  TypedServer<Q, A> server(const std::string& queue, ServerOptions options = {}) {
    options.schema = schema_text<Q>();
    options.result_schema = schema_text<A>();
    return TypedServer<Q, A>(server(queue, std::move(options)));
  }

  // Ends every wait of this session's endpoints, now and until resume(): a call that would have to wait, or to return
  // empty or full, returns Status::interrupted, whatever its time-out. A call that can be done at once is done, so a
  // message that is there is received and one for which there is room is sent. Not for signal handlers: set a flag
  // there and call it elsewhere.
  void interrupt() noexcept;
  void resume() noexcept;

  // False once the broker has closed the connection or died, and for an empty object. Does not wait.
  bool connected() const noexcept;

 private:
  detail::SessionCore& core(const std::string& queue) const;

  std::shared_ptr<detail::SessionCore> core_;
};

// Attaches to a broker, and starts a thread that watches it. Waits for the broker to appear as `wait_for` says, and 10
// s at most for its answer. Throws NotFoundError (no broker within `wait_for`), UsageError (invalid name),
// PermissionError, LayoutError (a broker of another release), SystemError (ETIMEDOUT: no answer within 10 s; EUSERS,
// ENOBUFS: the broker takes no more connections; also no thread or descriptor left here). Thread-safe.
IPCQ_API Session connect(ConnectOptions options = {});

}  // namespace ipcq
