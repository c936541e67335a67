// Connection: one connection to a server, with commands in a pipeline: append() many, exchange() moves bytes both ways
// without waiting, next() takes the replies in the order of their commands. Or call(), which waits for its reply.
//
// Every failure of the connection itself throws ConnectionLost, after which it is of no more use. For one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "redis/address.hpp"
#include "redis/reply.hpp"

struct redisContext;

namespace ipcq::bridge {

// The connection failed, or the server cannot serve now (it loads, it is a replica): worth another try.
class ConnectionLost : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A server of a cluster says who has the keys.
class Moved : public ConnectionLost {
 public:
  Moved(const std::string& what, Address to) : ConnectionLost(what), to_(std::move(to)) {}
  const Address& to() const noexcept { return to_; }

 private:
  Address to_;
};

// The texts of a command; they are copied by append().
using Command = std::vector<std::string_view>;

// Where the server is now: the address itself, or what one of its sentinels says. Waits `patience` at most for each of
// them. Throws ConnectionLost.
Address locate(const Address& address, std::chrono::milliseconds patience);

class Connection {
 public:
  // Connects, says who it is, chooses the database and takes `name` as the connection's name. Waits `patience` at most
  // for each step. Throws ConnectionLost, PermissionError (the server refuses user and password, or their rights),
  // UsageError (no such database).
  // Once a stop is requested it and call() wait half a second more, all together.
  Connection(const Address& address, const std::string& name, std::chrono::milliseconds patience,
             std::stop_token stop = {});
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const Address& address() const noexcept { return address_; }
  int fd() const noexcept;
  // Whether there is more to send than the socket takes now: poll for POLLOUT, too.
  bool has_to_send() const noexcept { return unsent_; }
  // Commands whose reply next() has not returned.
  std::size_t awaited() const noexcept { return awaited_; }

  void append(const Command& command);
  // Sends what can be now.
  void send();
  // Sends and receives what can be now; notices that the server has gone also where no reply is awaited. A server from
  // which nothing comes for `patience` while a reply is awaited is lost: a host that is cut off closes no connection.
  // Call next() behind it before waiting for the descriptor: what was received is not told of again.
  void exchange();
  // The next reply that is there. Throws ConnectionLost or Moved where it is an error that says so.
  Reply next();
  // The same for a command whose key may lie anywhere in a cluster: also an error that says so of this one key (MOVED,
  // ASK, TRYAGAIN, CLUSTERDOWN).
  Reply next_of_key();

  // The next reply, which is waited for `patience` at most.
  Reply wait_for_next();

  // From now on only for messages: this command subscribes to channels, and next() returns what they bring.
  void listen(const Command& command);

  // Waits `patience` at most for the reply of this command. Only where no other is awaited.
  Reply call(const Command& command);

 private:
  struct Free {
    void operator()(redisContext* context) const noexcept;
  };

  void connect();
  bool receive();
  Reply take_reply();
  void introduce(const std::string& name);
  [[noreturn]] void lose(std::string_view why) const;
  void refuse_if_useless(const Reply& reply) const;
  void wait_for(short events, std::chrono::steady_clock::time_point until);

  Address address_;
  std::chrono::milliseconds patience_;
  std::unique_ptr<redisContext, Free> context_;
  std::vector<char> buffer_;
  std::stop_token stop_;
  std::optional<std::chrono::steady_clock::time_point> last_;  // when what waits is to end, since the stop
  bool unsent_ = false;
  bool listening_ = false;
  std::chrono::steady_clock::time_point heard_at_{};  // since when a reply is awaited and nothing has come
  std::size_t awaited_ = 0;
};

}  // namespace ipcq::bridge
