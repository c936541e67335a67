#include "redis/connection.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ipcq/error.hpp>

#include <fmt/format.h>
#include <hiredis/hiredis.h>

#include "program/size_text.hpp"

namespace ipcq::bridge {
namespace {

constexpr std::chrono::milliseconds kAfterStop{500};

// Errors of a server that is there and cannot serve now, or no longer; or has forgotten its scripts, which are loaded
// with each connection.
bool is_passing(std::string_view code) {
  for (const std::string_view passing :
       {"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS", "NOSCRIPT"}) {
    if (code == passing) return true;
  }
  return false;
}

}  // namespace

Address locate(const Address& address, std::chrono::milliseconds patience) {
  if (address.sentinels.empty()) return address;
  std::string why;
  for (const auto& each : address.sentinels) {
    try {
      Address sentinel;
      sentinel.host = each.host;
      sentinel.port = each.port;
      Connection connection(sentinel, "ipcq-redis", patience);
      const Reply reply = connection.call({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.master});
      if (reply.view().size() == 2) {
        Address found = address;
        found.sentinels.clear();
        found.host = reply.view()[0].text();
        found.port = static_cast<std::uint16_t>(reply.view()[1].number());
        return found;
      }
      why = reply.view().is_error() ? std::string(reply.view().text())
                                    : fmt::format("{}: knows no master '{}'", sentinel.text(), address.master);
    } catch (const Error& error) {
      why = error.what();
    } catch (const ConnectionLost& lost) {
      why = lost.what();
    }
  }
  throw ConnectionLost(fmt::format("{}: no sentinel tells where the server is; the last one: {}", address.text(), why));
}

void Connection::Free::operator()(redisContext* context) const noexcept { redisFree(context); }

Connection::Connection(const Address& address, const std::string& name, std::chrono::milliseconds patience,
                       std::stop_token stop)
    : address_(address), patience_(patience), buffer_(256U << 10), stop_(std::move(stop)) {
  connect();
  introduce(name);
}

Connection::~Connection() = default;

int Connection::fd() const noexcept { return context_->fd; }

void Connection::lose(std::string_view why) const { throw ConnectionLost(fmt::format("{}: {}", address_.text(), why)); }

void Connection::connect() {
  const auto until = std::chrono::steady_clock::now() + patience_;
  context_.reset(address_.socket.empty() ? redisConnectNonBlock(address_.host.c_str(), address_.port)
                                         : redisConnectUnixNonBlock(address_.socket.c_str()));
  if (context_ == nullptr) lose("out of memory");
  if (context_->err != 0) lose(context_->errstr);
  context_->reader->maxbuf = 0;  // keep its buffer
  wait_for(POLLOUT, until);
  int failure = 0;
  socklen_t size = sizeof failure;
  if (getsockopt(fd(), SOL_SOCKET, SO_ERROR, &failure, &size) != 0) failure = errno;
  if (failure != 0) lose(std::strerror(failure));
}

void Connection::introduce(const std::string& name) {
  const auto ask = [&](const Command& command) {
    Reply reply = call(command);
    const auto text = reply.view().text();
    if (!reply.view().is_error()) return;
    const auto code = reply.view().error_code();
    if (text.find("without any password configured") != std::string_view::npos) {
      throw PermissionError(
          fmt::format("{}: the server has no password for the user 'default'; give none, or name a "
                      "user of its access control list by --user or in the URL",
                      address_.text()));
    }
    if (code == "NOAUTH" || code == "WRONGPASS" || code == "NOPERM" || command[0] == "AUTH") {
      throw PermissionError(fmt::format(
          "{}: {}; give the user by --user or in the URL, and the password by --password-file or IPCQ_REDIS_PASSWORD",
          address_.text(), text));
    }
    if (command[0] == "SELECT") throw UsageError(fmt::format("{}: {}", address_.text(), text));
    lose(text);
  };
  if (!address_.password.empty()) {
    address_.user.empty() ? ask({"AUTH", address_.password}) : ask({"AUTH", address_.user, address_.password});
  }
  ask({"PING"});
  if (address_.database != 0) ask({"SELECT", std::to_string(address_.database)});
  static_cast<void>(call({"CLIENT", "SETNAME", name}));  // a user without the right for it does without
}

void Connection::append(const Command& command) {
  std::vector<const char*> texts;
  std::vector<std::size_t> sizes;
  texts.reserve(command.size());
  sizes.reserve(command.size());
  for (const auto text : command) {
    texts.push_back(text.data() != nullptr ? text.data() : "");
    sizes.push_back(text.size());
  }
  if (redisAppendCommandArgv(context_.get(), static_cast<int>(texts.size()), texts.data(), sizes.data()) != REDIS_OK) {
    lose(context_->errstr);
  }
  unsent_ = true;
  if (awaited_++ == 0) heard_at_ = std::chrono::steady_clock::now();
}

void Connection::send() {
  if (!unsent_) return;
  int done = 0;
  if (redisBufferWrite(context_.get(), &done) != REDIS_OK) lose(context_->errstr);
  unsent_ = done == 0;
}

void Connection::exchange() {
  send();
  const auto now = std::chrono::steady_clock::now();
  if (receive() || awaited_ == 0) {
    heard_at_ = now;
  } else if (now - heard_at_ > patience_) {
    lose(fmt::format("no answer for {} ms", patience_.count()));
  }
}

// Whether anything has come. hiredis itself reads 16 KiB at a time.
bool Connection::receive() {
  for (bool any = false;; any = true) {
    const ssize_t got = recv(fd(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got == 0) lose("the server has closed the connection");
    if (got < 0) {
      if (errno == EAGAIN || errno == EINTR) return any;
      lose(std::strerror(errno));
    }
    if (redisReaderFeed(context_->reader, buffer_.data(), static_cast<std::size_t>(got)) != REDIS_OK) {
      lose(context_->reader->errstr);
    }
    if (static_cast<std::size_t>(got) < buffer_.size()) return true;
  }
}

Reply Connection::next() {
  Reply reply = take_reply();
  if (reply) refuse_if_useless(reply);
  return reply;
}

Reply Connection::next_of_key() {
  Reply reply = take_reply();
  const auto code = reply.view().error_code();
  const bool is_of_key = code == "MOVED" || code == "ASK" || code == "TRYAGAIN" || code == "CLUSTERDOWN";
  if (reply && !is_of_key) refuse_if_useless(reply);
  return reply;
}

Reply Connection::take_reply() {
  void* raw = nullptr;
  if (redisGetReplyFromReader(context_.get(), &raw) != REDIS_OK) lose(context_->errstr);
  Reply reply(static_cast<redisReply*>(raw));
  if (reply && awaited_ > 0) --awaited_;
  return reply;
}

void Connection::refuse_if_useless(const Reply& reply) const {
  const auto code = reply.view().error_code();
  if (code.empty()) return;
  if (is_passing(code)) lose(reply.view().text());
  if (code != "MOVED" && code != "ASK") return;
  const auto text = reply.view().text();  // MOVED 3999 127.0.0.1:6381
  const auto colon = text.rfind(':');
  const auto space = text.rfind(' ');
  if (colon == std::string_view::npos || space == std::string_view::npos || colon < space) lose(text);
  Address to = address_;
  to.socket.clear();
  if (colon > space + 1) to.host = text.substr(space + 1, colon - space - 1);
  to.port = static_cast<std::uint16_t>(
      program::parse_number(text.substr(colon + 1), "the port of " + std::string(text), 1, 65535));
  throw Moved(fmt::format("{}: {}", address_.text(), text), to);
}

void Connection::listen(const Command& command) {
  append(command);
  listening_ = true;
  send();
}

Reply Connection::call(const Command& command) {
  append(command);
  return wait_for_next();
}

Reply Connection::wait_for_next() {
  const auto until = std::chrono::steady_clock::now() + patience_;
  for (;;) {
    exchange();
    if (Reply reply = next()) return reply;
    wait_for(static_cast<short>(unsent_ ? POLLIN | POLLOUT : POLLIN), until);
  }
}

void Connection::wait_for(short events, std::chrono::steady_clock::time_point until) {
  using std::chrono::milliseconds;
  pollfd entry{.fd = fd(), .events = events, .revents = 0};
  for (;;) {
    const auto now = std::chrono::steady_clock::now();
    if (!last_ && stop_.stop_requested()) last_ = now + kAfterStop;
    if (last_) until = std::min(until, *last_);
    auto left = std::chrono::ceil<milliseconds>(until - now);
    if (left <= milliseconds::zero()) lose(fmt::format("no answer within {} ms", patience_.count()));
    if (stop_.stop_possible()) left = std::min(left, kAfterStop);  // the stop wakes nobody
    const int ready = poll(&entry, 1, static_cast<int>(left.count()));
    if (ready > 0) return;
    if (ready < 0 && errno != EINTR) lose(std::strerror(errno));
  }
}

}  // namespace ipcq::bridge
