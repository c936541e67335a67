// The members of Client, Call, Server and Request, which call the cores.
#include "ipcq/calls.hpp"

#include <algorithm>

#include "base/deadline.hpp"
#include "client/caller_core.hpp"
#include "client/server_core.hpp"
#include "ipcq/error.hpp"

namespace ipcq {

using detail::Answer;
using detail::Deadline;

namespace {

// Closes a core. What still refers to it gets it kept until the session ends.
template <class Core>
void close_core(std::unique_ptr<Core>& core) noexcept {
  if (!core) return;
  if (core->is_forked_child()) return detail::keep_for_ever(std::move(core));
  const auto session = core->shared_session();
  const bool referred_to = core->is_referred_to();
  core->close();
  if (referred_to) session->retire(std::shared_ptr<Core>(std::move(core)));
  core.reset();
}

}  // namespace

// ---- Call ----

Result<Reply> Call::receive(Timeout timeout) noexcept {
  if (core_ == nullptr) return over_;
  Deadline deadline(timeout);
  Reply reply;
  const Status s = core_->receive(*this, deadline, reply);
  if (detail::has_found_nothing(s)) core_->rest();
  if (s != Status::ok) return s;
  return reply;
}

std::string_view Call::failure_text() const noexcept {
  return core_ != nullptr ? core_->failure_text(*this) : std::string_view();
}

void Call::cancel() noexcept {
  if (core_ != nullptr) core_->cancel(*this);
}

// ---- Client ----

Client::Client() noexcept = default;
Client::Client(std::unique_ptr<detail::CallerCore> core) noexcept : core_(std::move(core)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&& other) noexcept {
  if (this != &other) {
    close();
    core_ = std::move(other.core_);
  }
  return *this;
}
Client::~Client() { close(); }
void Client::close() noexcept { close_core(core_); }

Result<Call> Client::request(std::span<const std::byte> bytes, Timeout deadline, Timeout room_for) noexcept {
  Deadline until(deadline);
  return core_ ? core_->request(bytes, until, room_for) : Status::closed;
}
Result<Loan> Client::loan(Timeout timeout) noexcept {
  Deadline deadline(timeout);
  return core_ ? core_->loan(deadline) : Status::closed;
}
Result<Call> Client::request(Loan& loan, std::size_t length, Timeout deadline, Timeout room_for) noexcept {
  Deadline until(deadline);
  return core_ ? core_->request(loan, length, until, room_for) : Status::closed;
}
Status Client::forward(Request& request, Timeout timeout) noexcept {
  Deadline deadline(timeout);
  return core_ ? core_->forward(request, deadline) : Status::closed;
}
Result<std::uint64_t> Client::wait_any(Timeout timeout) noexcept {
  Deadline deadline(timeout);
  const auto id = core_ ? core_->wait_any(deadline) : Status::closed;
  if (detail::has_found_nothing(id.status())) core_->rest();
  return id;
}
int Client::fd() {
  if (!core_ || core_->is_forked_child()) {
    throw UsageError("a client that is not open, or from before a fork, has no descriptor");
  }
  return core_->fd();
}
std::size_t Client::calls_under_way() const noexcept { return core_ ? core_->calls_under_way() : 0; }
std::size_t Client::max_bytes() const noexcept { return std::max(slot_bytes(), inline_bytes()); }
std::size_t Client::slot_bytes() const noexcept { return core_ ? core_->producer().slot_bytes() : 0; }
std::size_t Client::inline_bytes() const noexcept { return core_ ? core_->producer().inline_bytes() : 0; }
std::size_t Client::inline_reply_bytes() const noexcept { return core_ ? core_->inline_reply_bytes() : 0; }
std::size_t Client::metadata_bytes() const noexcept {
  return core_ ? core_->producer().pool()->config().metadata_bytes : 0;
}
std::size_t Client::metadata_for_values() const noexcept {
  return core_ ? detail::metadata_for_values(core_->queue(), *core_->producer().pool()) : 0;
}
std::string Client::schema() const { return core_ ? core_->queue().schema(detail::kSchemaIn) : std::string(); }
std::string Client::result_schema() const { return core_ ? core_->queue().schema(detail::kSchemaOut) : std::string(); }

// ---- Request ----

std::uint64_t Request::deadline_ns() const noexcept { return core_ != nullptr ? core_->deadline_of(*this) : 0; }
std::span<const std::byte> Request::forwarded_bytes() const noexcept { return forwarded_->bytes; }
std::span<const std::byte> Request::forwarded_metadata() const noexcept {
  return forwarded_->home.pool->metadata(forwarded_->slot.slot, forwarded_->slot.lease);
}
bool Request::is_cancelled() const noexcept { return core_ == nullptr || core_->is_cancelled(*this); }
std::span<std::byte> Request::room() noexcept {
  return core_ != nullptr ? core_->open_room(*this) : std::span<std::byte>();
}
Status Request::reply(std::span<const std::byte> bytes, Timeout timeout) noexcept {
  Deadline deadline(timeout);
  return core_ != nullptr ? core_->answer(*this, Answer::reply, bytes, 0, false, deadline) : Status::not_held;
}
Status Request::stream(std::span<const std::byte> bytes, Timeout timeout) noexcept {
  Deadline deadline(timeout);
  return core_ != nullptr ? core_->answer(*this, Answer::reply, bytes, 0, true, deadline) : Status::not_held;
}
Status Request::end() noexcept { return core_ != nullptr ? core_->end(*this) : Status::not_held; }
Status Request::fail(std::uint32_t code, std::string_view text, Timeout timeout) noexcept {
  Deadline deadline(timeout);
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  return core_ != nullptr ? core_->answer(*this, Answer::failure, bytes, code, false, deadline) : Status::not_held;
}
Status Request::nack() noexcept { return core_ != nullptr ? core_->nack(*this) : Status::not_held; }
void Request::let_go() noexcept { core_->let_go(*this); }

// ---- Server ----

Server::Server() noexcept = default;
Server::Server(std::unique_ptr<detail::ServerCore> core) noexcept : core_(std::move(core)) {}
Server::Server(Server&&) noexcept = default;
Server& Server::operator=(Server&& other) noexcept {
  if (this != &other) {
    close();
    core_ = std::move(other.core_);
  }
  return *this;
}
Server::~Server() { close(); }
void Server::close() noexcept { close_core(core_); }

Result<Request> Server::receive(Timeout timeout) noexcept {
  if (!core_) return Status::closed;
  Request request;
  const Status s = core_->receive(request, timeout);
  if (s != Status::ok) return s;
  return request;
}
int Server::fd() {
  if (!core_ || core_->is_forked_child()) {
    throw UsageError("a server that is not open, or from before a fork, has no descriptor");
  }
  return core_->fd();
}
std::uint64_t Server::cancelled() const noexcept { return core_ ? core_->cancelled() : 0; }
std::string Server::schema() const { return core_ ? core_->queue().schema(detail::kSchemaIn) : std::string(); }
std::string Server::result_schema() const { return core_ ? core_->queue().schema(detail::kSchemaOut) : std::string(); }

}  // namespace ipcq
