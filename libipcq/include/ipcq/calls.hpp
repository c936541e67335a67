// Calls: a client asks, one of the servers answers, and the answer goes to who has asked and to nobody else. Of a queue
// that was created for calls (QueueOptions::calls). docs/guide/calls.md.
//
// Client and server are each for one thread, with the calls and requests that they have made; they must not outlive
// their Session, and calls and requests not their client and server. Session::interrupt() ends their waits from another
// thread.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "ipcq/producer.hpp"

#pragma push_macro("Status")  // Xlib's, for int
#undef Status

namespace ipcq {

namespace detail {
class CallerCore;
class CallForwarding;
class ServerCore;
struct ForwardedRequest;
}  // namespace detail

class Request;

struct ClientOptions {
  Wait wait = Wait::hybrid();
  Timeout wait_for = Duration::zero();  // how long to wait for the queue to appear
  // Longest reply that the client expects, in bytes, up to Client::slot_bytes(). A reply has the room of its request: a
  // short one (Client::inline_bytes()) has room for a reply of Client::inline_reply_bytes(), one in a slot for what a
  // slot holds. So with more than inline_reply_bytes() short requests travel in slots, too.
  std::size_t reply_bytes = 0;
  // A call that no server has does not wait for one: it comes to Status::no_server as soon as none is attached.
  bool needs_server = false;
  // The types of requests and of replies (ipcq/schema.hpp), which must be the queue's; empty: any bytes. TypedClient
  // sets them.
  std::string schema{};
  std::string result_schema{};
};

struct ServerOptions {
  Wait wait = Wait::hybrid();
  Timeout wait_for = Duration::zero();  // how long to wait for the queue to appear
  std::string schema{};                 // as ClientOptions
  std::string result_schema{};
};

// What came for a call. A view: valid until the call's next receive(), its cancel() or end; where more may come, also
// until Client::wait_any().
class Reply {
 public:
  Reply() noexcept = default;
  std::span<const std::byte> bytes() const noexcept { return bytes_; }
  std::size_t length() const noexcept { return bytes_.size(); }
  // Whether this was not the last: receive() returns another (Request::stream()), or says why there is none.
  bool has_more() const noexcept { return has_more_; }

 private:
  friend class detail::CallerCore;
  std::span<const std::byte> bytes_;
  bool has_more_ = false;
};

// One call that is under way. Destroying it cancels it.
class IPCQ_API Call {
 public:
  Call() noexcept = default;
  Call(Call&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)), id_(other.id_), over_(other.over_), code_(other.code_) {}
  Call& operator=(Call&& other) noexcept {
    Call taken(std::move(other));
    std::swap(core_, taken.core_);
    std::swap(id_, taken.id_);
    std::swap(over_, taken.over_);
    std::swap(code_, taken.code_);
    return *this;
  }
  ~Call() { cancel(); }

  // Whether it has not ended: receive() may still return something, or failure_text() has.
  explicit operator bool() const noexcept { return core_ != nullptr; }
  // Names this call among those of its queue. Client::wait_any() returns it.
  std::uint64_t id() const noexcept { return id_; }

  // Takes the call's next reply, usually its only one. Waits `timeout` at most, and no longer than the call's deadline,
  // as ClientOptions::wait says. Statuses: ok; empty (zero time-out) and timeout: it goes on; interrupted; closed;
  // peer_dead; failed: see failure_code(); and what ends the call: end: there is no further reply; server_died: its
  // server has died, has closed, or has let the request go, without the last reply; no_server
  // (ClientOptions::needs_server); expired: its deadline has passed. A call that has ended says so again.
  [[nodiscard]] Result<Reply> receive(Timeout timeout = kForever) noexcept;
  // The same without waiting.
  [[nodiscard]] Result<Reply> poll() noexcept { return receive(Duration::zero()); }

  // Where receive() came to failed: what the server has said (Request::fail()). The text is valid until cancel() or the
  // call's end, and cut off at Client::inline_reply_bytes().
  std::uint32_t failure_code() const noexcept { return code_; }
  std::string_view failure_text() const noexcept;

  // Ends the call: its server can see that nobody waits (Request::is_cancelled()), and one that has not begun on it
  // never sees it. What comes for it is discarded. Does not wait.
  void cancel() noexcept;

 private:
  friend class detail::CallerCore;
  detail::CallerCore* core_ = nullptr;  // null: it is over
  std::uint64_t id_ = 0;
  Status over_ = Status::not_held;  // what receive() returns then
  std::uint32_t code_ = 0;
};

class IPCQ_API Client {
 public:
  // An empty object, for members: every call returns Status::closed. Session::client() opens one.
  Client() noexcept;
  explicit Client(std::unique_ptr<detail::CallerCore> core) noexcept;
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();  // close()

  // Sends a request and returns its call. `deadline` counts from now, for all of it: the wait for a slot and a line,
  // the server's work, and the wait for its last reply. Waits for these two, `room_for` at most, and is too_large, as
  // Producer::send(). Statuses: ok; as Producer::send(), where timeout, and full where `room_for` is zero, say that it
  // was not sent; full also: QueueOptions::calls are under way, or there is no room and one of this client's calls has
  // a reply in a slot, or one of several, with which it is not done: receive that first; no_server
  // (ClientOptions::needs_server); expired: a deadline of zero.
  [[nodiscard]] Result<Call> request(std::span<const std::byte> bytes, Timeout deadline = kForever,
                                     Timeout room_for = kForever) noexcept;
  template <Payload R>
  requires(!std::convertible_to<R&&, std::span<const std::byte>>)
      [[nodiscard]] Result<Call> request(R&& range, Timeout deadline = kForever, Timeout room_for = kForever) noexcept {
    return request(payload_bytes(range), deadline, room_for);
  }

  // Borrows a slot for a request that is written in place, as Producer::loan(). full also as request().
  [[nodiscard]] Result<Loan> loan(Timeout timeout = kForever) noexcept;
  // Sends the first `length` bytes of a loan of this client. On any status but ok the loan is kept. Statuses as above,
  // and: not_held: it is no loan of this client's, or was sent.
  [[nodiscard]] Result<Call> request(Loan& loan, std::size_t length, Timeout deadline = kForever,
                                     Timeout room_for = kForever) noexcept;

  // Passes a request that this process has received on to this client's queue, of the same broker: whoever takes it
  // there answers in its server's place, and the caller notices nothing. Not copied but for what travelled in its line.
  // This client has no call of it. Waits for a line, and for a slot where the request needs one, as request(). On any
  // status but ok and cancelled the request stays. Statuses: ok; cancelled: nobody waits for an answer; as request() of
  // full, timeout, closed, peer_dead, interrupted; full also: the caller has not read the last reply of stream();
  // too_large: no message of this queue has room for it; unreachable: this queue's handler answers its calls, its slots
  // are on a GPU, or it is another broker's; not_held: the request was answered. A death in between is its server's
  // (QueueOptions::on_server_death, of the queue whose client asks).
  [[nodiscard]] Status forward(Request& request, Timeout timeout = kForever) noexcept;

  // Waits until receive() of one of this client's calls would return something that it has not returned before, and
  // returns the id of that call. It goes round the calls in the order in which they began, so that answers that are all
  // there come in that order. Calls whose reply was received and has more to come are let go on, which ends what that
  // reply shows. Statuses: ok; empty: a zero time-out, or no call is under way but such whose last reply, or failure,
  // was received; timeout; interrupted; closed; peer_dead. Looks at each call that is under way.
  [[nodiscard]] Result<std::uint64_t> wait_any(Timeout timeout = kForever) noexcept;

  // As Consumer::fd(): readable while wait_any() may have something to return, until wait_any(), or a call's receive(),
  // has come to empty or timeout and no other call of this client has news. It does not tell of a call's deadline.
  int fd();

  std::size_t calls_under_way() const noexcept;
  // Largest request in bytes; capacity of a slot (0: no slots); largest request, and largest reply, that needs no slot.
  std::size_t max_bytes() const noexcept;
  std::size_t slot_bytes() const noexcept;
  std::size_t inline_bytes() const noexcept;
  std::size_t inline_reply_bytes() const noexcept;
  // Most bytes that a request in a slot can have beside its payload (Loan::set_metadata()).
  std::size_t metadata_bytes() const noexcept;
  std::size_t metadata_for_values() const noexcept;  // as Producer
  // The types of the queue's requests and replies (ipcq/schema.hpp), as of now; empty: any bytes.
  std::string schema() const;
  std::string result_schema() const;

  // Cancels what is under way. Waits for the broker's answer, 10 s at most. Idempotent; the destructor calls it.
  void close() noexcept;

 private:
  std::unique_ptr<detail::CallerCore> core_;
};

// A request that a server has received. Destroying it without an answer tells the caller that (Status::server_died).
class IPCQ_API Request {
 public:
  Request() noexcept = default;
  Request(Request&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)),
        forwarded_(std::exchange(other.forwarded_, nullptr)),
        message_(std::move(other.message_)) {}
  Request& operator=(Request&& other) noexcept {
    Request taken(std::move(other));
    std::swap(core_, taken.core_);
    std::swap(forwarded_, taken.forwarded_);
    std::swap(message_, taken.message_);
    return *this;
  }
  ~Request() {
    if (core_ != nullptr) let_go();
  }

  // Whether it can be answered.
  explicit operator bool() const noexcept { return core_ != nullptr; }

  // The request's payload, until it was answered or room() was written.
  std::span<const std::byte> bytes() const noexcept {
    return forwarded_ == nullptr ? message_.bytes() : forwarded_bytes();
  }
  // As Message::metadata().
  std::span<const std::byte> metadata() const noexcept {
    return forwarded_ == nullptr ? message_.metadata() : forwarded_metadata();
  }
  // Call::id(); of a request that was passed on (Client::forward()) it is another.
  std::uint64_t id() const noexcept { return message_.sequence(); }
  // Id of the caller's endpoint, or of the client by which the request was passed on.
  std::uint32_t client() const noexcept { return message_.producer(); }
  std::uint32_t redeliveries() const noexcept { return message_.redeliveries(); }  // servers that had it before
  // When the caller stops waiting, in ns of CLOCK_MONOTONIC; all ones: never.
  std::uint64_t deadline_ns() const noexcept;
  // Whether nobody waits for an answer any more. A look at shared memory, for long work to stop early.
  bool is_cancelled() const noexcept;

  // The slot of the request, where the last reply can be made in place: reply(room().first(n)) copies nothing. It
  // begins with the request's own bytes. Empty where the request is in no slot. From this call on no other server is
  // given the request. Not while the caller may be reading what stream() has sent from there.
  std::span<std::byte> room() noexcept;

  // Answers the call with its last reply; this object is empty then. Waits until the caller has received what stream()
  // sent before, within its deadline. Statuses: ok; cancelled: nobody waits for it, or its deadline has passed (this
  // object is empty); too_large: more than
  // Client::inline_reply_bytes(), and than room(); not_held: it was answered; timeout, full (zero time-out),
  // interrupted, closed, peer_dead: from that wait.
  [[nodiscard]] Status reply(std::span<const std::byte> bytes, Timeout timeout = kForever) noexcept;
  template <Payload R>
  requires(!std::convertible_to<R&&, std::span<const std::byte>>) [[nodiscard]] Status
      reply(R&& range, Timeout timeout = kForever) noexcept {
    return reply(payload_bytes(range), timeout);
  }
  // Sends one of several replies: further ones follow, then reply() or end(). One at a time: waits until the caller has
  // received the last one, which it has once it asks for another. Statuses as reply().
  [[nodiscard]] Status stream(std::span<const std::byte> bytes, Timeout timeout = kForever) noexcept;
  template <Payload R>
  requires(!std::convertible_to<R&&, std::span<const std::byte>>) [[nodiscard]] Status
      stream(R&& range, Timeout timeout = kForever) noexcept {
    return stream(payload_bytes(range), timeout);
  }
  // Ends the replies: what stream() sent last was the last. Does not wait. Statuses: ok, cancelled, not_held, closed.
  Status end() noexcept;
  // Tells the caller that the request failed (Status::failed), and why. The text is cut off at
  // Client::inline_reply_bytes(). Waits, and statuses, as reply().
  Status fail(std::uint32_t code, std::string_view text = {}, Timeout timeout = kForever) noexcept;
  // Gives the request to another server, or to this one again. Statuses: ok; not_held; closed; cancelled: nobody waits,
  // or the caller has had a reply or room() was called, so that the caller is told (Status::server_died).
  Status nack() noexcept;

 private:
  friend class detail::CallForwarding;
  friend class detail::ServerCore;
  std::span<const std::byte> forwarded_bytes() const noexcept;
  std::span<const std::byte> forwarded_metadata() const noexcept;
  void let_go() noexcept;
  detail::ServerCore* core_ = nullptr;
  detail::ForwardedRequest* forwarded_ = nullptr;  // the server's, of a request that another has passed on
  Message message_;
};

class IPCQ_API Server {
 public:
  // An empty object, for members: every call returns Status::closed. Session::server() opens one.
  Server() noexcept;
  explicit Server(std::unique_ptr<detail::ServerCore> core) noexcept;
  Server(Server&&) noexcept;
  Server& operator=(Server&&) noexcept;
  ~Server();  // close()

  // Takes the next request: each goes to one of the queue's servers. Those for which nobody waits any more are passed
  // over. Waits `timeout` at most; for the first that was passed on from another queue (Client::forward()) also for the
  // broker's answer. Statuses: ok; empty (zero time-out); timeout; closed; peer_dead; interrupted; full: this server
  // has QueueOptions::held requests already; unreachable: this process cannot map the queue from which a request was
  // passed on, which went back to the group (the log says why).
  [[nodiscard]] Result<Request> receive(Timeout timeout = kForever) noexcept;

  // As Consumer::fd(), of receive().
  int fd();

  // Calls that this server found cancelled or past their deadline, when it would have received them or when it
  // answered.
  std::uint64_t cancelled() const noexcept;

  // As of Client.
  std::string schema() const;
  std::string result_schema() const;

  // QueueOptions::on_server_death says what becomes of requests that it has received and not answered. Waits for the
  // broker's answer, 10 s at most. Idempotent; the destructor calls it.
  void close() noexcept;

 private:
  std::unique_ptr<detail::ServerCore> core_;
};

}  // namespace ipcq

#pragma pop_macro("Status")
