// A session's requests to its broker: one at a time, each answered within ten seconds or given up.
//
// Requests and answers are in order, so the serial of the last answer tells which requests are still open. A broker
// that let one time out (it is stopped, or has no CPU) is deaf until it has answered all of them. Until then endpoints
// are closed without waiting, as several waits would add up. An endpoint that it opens for a request that was given up
// is closed again, as never used, as soon as that answer comes.
// Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "control/connection.hpp"

namespace ipcq::detail {

class RequestChannel {
 public:
  // The connection has been introduced: its request with serial 1 is answered.
  explicit RequestChannel(std::string broker);
  void begin(Connection connection) noexcept { connection_ = std::move(connection); }
  const Connection& connection() const noexcept { return connection_; }

  // Throws SystemError: no answer within ten seconds, or the broker has gone. A refusal is returned.
  Reply ask(const Request& request);
  // For requests whose answer says nothing: close_endpoint, bye. Waits for it unless the broker is deaf.
  void tell(const Request& request) noexcept;

  // Whether answers to requests that nobody waits for are to come. When this turns true, wake() becomes readable.
  bool awaits_late_answers() const noexcept { return awaits_.load(std::memory_order_acquire); }
  // Takes those that are there. Does not block, and does nothing while a request is under way, which takes them itself.
  void take_late_answers() noexcept;
  int wake() const noexcept { return wake_.get(); }

 private:
  struct Close {
    std::uint32_t client;
    std::uint32_t flags;
  };
  class UnderWay;

  Reply exchange(Request request);
  bool try_to_send(Request request) noexcept;
  void take(const Reply& reply);
  void drain() noexcept;
  void send_closes() noexcept;
  bool is_answered() const noexcept { return answered_ == sent_; }
  // Whether there is something to do once answers come.
  bool is_behind() const noexcept { return !is_answered() || !to_close_.empty(); }

  const std::string broker_;
  Connection connection_;
  Fd wake_;
  std::mutex mutex_;             // one request at a time on the socket; guards what follows
  std::uint32_t sent_ = 1;       // serial of the last request; 1: hello
  std::uint32_t answered_ = 1;   // serial of the last answer
  bool deaf_ = false;            // a request timed out, and not all are answered since
  std::vector<Close> to_close_;  // endpoints that nobody has, and closes that found no room in the socket
  std::atomic<bool> awaits_{false};
};

}  // namespace ipcq::detail
