// A session's requests to its broker: one at a time, each answered within ten seconds or given up.
//
// Thread safety: any thread may call any function; begin() comes first, once. A mutex is held for a whole request and
// its reply.
//
// Invariant: requests and answers are in order, so the serial of the last answer tells which requests are still open. A
// broker that let one time out (it is stopped, or has no CPU) is deaf until it has answered all of them. Until then
// endpoints are closed without waiting, as several waits would add up. An endpoint that it opens for a request that was
// given up is closed again, as never used, as soon as that answer comes.
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
  explicit RequestChannel(std::string broker);
  // Takes a connection whose first request, of serial 1, has been answered.
  void begin(Connection connection) noexcept { connection_ = std::move(connection); }
  const Connection& connection() const noexcept { return connection_; }

  // Throws SystemError: no answer within ten seconds, or the broker has gone. A refusal is returned, and its text,
  // which may be longer than the reply's, in `refusal`. `behind`: the texts behind the request.
  Reply ask(const Request& request, const std::string& behind, std::string& refusal);
  // For requests whose answer says nothing: close_endpoint, bye. Waits for it unless the broker is deaf.
  void tell(const Request& request) noexcept;

  // Whether answers to requests that were given up are still to come. When this turns true, wake() becomes readable.
  bool awaits_late_answers() const noexcept { return awaits_.load(std::memory_order_acquire); }
  // Takes the late answers that have arrived. Does not block. Does nothing while a request is under way, which takes
  // them itself.
  void take_late_answers() noexcept;
  int wake() const noexcept { return wake_.get(); }

 private:
  struct Close {
    std::uint32_t client;
    std::uint32_t flags;
  };
  class UnderWay;

  Reply exchange(Request request, const std::string& behind, std::string& refusal);
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
  std::vector<Close> to_close_;  // endpoints that no caller received, and closes that found no room in the socket
  std::atomic<bool> awaits_{false};
};

}  // namespace ipcq::detail
