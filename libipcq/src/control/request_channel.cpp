#include "control/request_channel.hpp"

#include <poll.h>

#include <cerrno>
#include <utility>

#include "base/deadline.hpp"
#include "base/poll_until.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {

// Holds the lock. Its destructor tells the poll thread if answers are still to come, or closes to be sent.
class RequestChannel::UnderWay {
 public:
  explicit UnderWay(RequestChannel& channel) : lock_(channel.mutex_), channel_(channel) {
    channel_.awaits_.store(false, std::memory_order_relaxed);
  }
  UnderWay(const UnderWay&) = delete;
  UnderWay& operator=(const UnderWay&) = delete;
  ~UnderWay() {
    if (!channel_.is_behind()) return;
    channel_.awaits_.store(true, std::memory_order_release);
    signal_eventfd(channel_.wake_.get());
  }

 private:
  std::unique_lock<std::mutex> lock_;
  RequestChannel& channel_;
};

RequestChannel::RequestChannel(std::string broker) : broker_(std::move(broker)), wake_(make_eventfd()) {}

Reply RequestChannel::ask(const Request& request, const std::string& behind, std::string& refusal) {
  const UnderWay under_way(*this);
  const Reply reply = exchange(request, behind, refusal);
  send_closes();
  return reply;
}

void RequestChannel::tell(const Request& request) noexcept {
  const UnderWay under_way(*this);
  drain();
  send_closes();
  const std::uint32_t before = sent_;
  try {
    if (!deaf_) {
      std::string unread;
      (void)exchange(request, {}, unread);
    } else if (to_close_.empty()) {  // in order: the broker reads a bye after all closes
      (void)try_to_send(request);
    }
  } catch (const std::exception&) {  // the broker has gone, or ends it at the latest with this process
  }
  if (sent_ == before && request.op == Op::close_endpoint) to_close_.push_back({request.client, request.flags});
}

void RequestChannel::take_late_answers() noexcept {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return;
  drain();
  send_closes();
  awaits_.store(is_behind(), std::memory_order_release);
}

Reply RequestChannel::exchange(Request request, const std::string& behind, std::string& refusal) {
  const std::uint64_t deadline = answer_deadline();
  request.serial = sent_ + 1;
  try {
    send_request(connection_, broker_, request, deadline, behind);
    sent_ = request.serial;
    for (;;) {
      Fd long_text;
      const Reply reply = receive_reply(connection_, broker_, long_text, deadline);
      if (reply.serial == request.serial) {
        answered_ = sent_;
        deaf_ = false;
        if (reply.refusal == Refusal::none) return reply;
        refusal = text_of_refusal(reply, long_text);
        return reply;
      }
      if (reply.serial == 0) throw_refusal(reply);
      take(reply);
    }
  } catch (const SystemError& e) {
    deaf_ = e.code() == ETIMEDOUT;
    throw;
  }
}

bool RequestChannel::try_to_send(Request request) noexcept {
  request.serial = sent_ + 1;
  if (!send_message(connection_.socket.get(), &request, sizeof request)) return false;
  sent_ = request.serial;
  return true;
}

// The answer to a request that nobody waits for any more.
void RequestChannel::take(const Reply& reply) {
  answered_ = reply.serial;
  if (reply.refusal == Refusal::none && reply.client != 0) to_close_.push_back({reply.client, kNeverUsed});
}

// Does not block. A reply with serial 0 says why the broker hung up; the poll thread notices that by itself.
void RequestChannel::drain() noexcept {
  try {
    while (!is_answered()) {
      pollfd p{connection_.socket.get(), POLLIN, 0};
      if (poll_until(&p, 1, 0) <= 0) return;
      Fd unused;
      const Reply reply = receive_reply(connection_, broker_, unused, now_ns());
      if (reply.serial == 0) return;
      take(reply);
    }
    deaf_ = false;
  } catch (const std::exception&) {
  }
}

// Those for which the socket has no room wait until answers come.
void RequestChannel::send_closes() noexcept {
  while (!to_close_.empty()) {
    Request close;
    close.op = Op::close_endpoint;
    close.client = to_close_.back().client;
    close.flags = to_close_.back().flags;
    if (!try_to_send(close)) return;
    to_close_.pop_back();
  }
}

}  // namespace ipcq::detail
