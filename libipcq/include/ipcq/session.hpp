// Session: one process' connection to one broker. Thread-safe.
//
// A forked child must connect anew: any call on an inherited session, producer or consumer that can throw throws
// UsageError there, any other returns Status::closed, and destructors leave the parent's queue untouched.
#pragma once

#include <memory>
#include <string>

#include "ipcq/consumer.hpp"
#include "ipcq/options.hpp"
#include "ipcq/producer.hpp"

namespace ipcq {

namespace detail {
class SessionCore;
}

struct ConnectOptions {
  // Broker name, or path of its control socket. Empty: $IPCQ_BROKER, else "default".
  std::string broker{};
  // How long to wait for the broker to appear.
  Timeout wait_for = Duration::zero();
  LogCallback log{};
};

class IPCQ_API Session {
 public:
  // An empty object, for members: producer() and consumer() throw UsageError. connect() makes a connected one.
  Session() noexcept;
  explicit Session(std::shared_ptr<detail::SessionCore> core) noexcept;
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  // Detaches; producers, consumers, loans and messages must be gone by then. Does not wait for GPUs: while a stream of
  // the process waits or a kernel stays, memory that ipcq::cuda has mapped and pinned is given back later, and while a
  // stream waits for a payload that a closed consumer had received, the connection to the broker stays.
  ~Session();

  // Open an endpoint. Wait for the queue to appear as `wait_for` says, and 10 s at most for each answer of the broker.
  // Throw NotFoundError (no such queue within `wait_for`), PermissionError, LayoutError, UsageError (no endpoint or
  // group free; use after fork), SystemError.
  Producer producer(const std::string& queue, ProducerOptions options = {});
  Consumer consumer(const std::string& queue, ConsumerOptions options = {});

  // Ends every wait of this session, now and until resume(): a call that finds nothing to do returns
  // Status::interrupted instead of waiting, empty or full, whatever its time-out; one that can be done at once is done,
  // so a message that is there is received and one for which there is room is sent. Callable from any thread; from a
  // signal handler set a flag and call it elsewhere.
  void interrupt() noexcept;
  void resume() noexcept;

  // False once the broker has closed the connection or died. Does not wait.
  bool connected() const noexcept;

 private:
  detail::SessionCore& core(const std::string& queue) const;

  std::shared_ptr<detail::SessionCore> core_;
};

// Attaches to a broker. Throws NotFoundError if there is none within `wait_for`, PermissionError, LayoutError (a broker
// of another release), SystemError (also if the broker does not answer within 10 s).
IPCQ_API Session connect(ConnectOptions options = {});

}  // namespace ipcq
