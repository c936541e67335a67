// The broker's control thread: its event loop, the connections that it serves, and what happens when one is lost or its
// process ends. It sleeps in epoll while nothing happens, without a timer, so that an idle broker costs nothing.
//
// Thread safety: the control thread locks the broker's mutex for each round of events, and unlocks it to sleep; the
// functions below are for stop(). Invariant: no round waits for a client or a runner.
#pragma once

#include <sys/types.h>

#include <string>
#include <thread>
#include <vector>

#include "broker/answers.hpp"
#include "broker/broker_parts.hpp"
#include "broker/control_socket.hpp"
#include "broker/errands.hpp"
#include "broker/requests.hpp"
#include "control/control.hpp"

namespace ipcq::detail {

class Server {
 public:
  // Opens the control socket and starts the thread. Throws SystemError, PermissionError.
  Server(BrokerParts& parts, const std::string& unix_group);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Without the mutex, once `quitting` is set and `quit` signalled. They wait for the control thread, and then for that
  // of answers.
  void join_control() { thread_.join(); }
  void join_answers() {
    answers_.join();
    errands_.join();
  }
  // Once the broker's name is given up: closes the control socket.
  void close_socket() noexcept { parts_.closer.close_listener(control_socket_.take_socket()); }

 private:
  void run() noexcept;
  void serve(int fd);
  void go_on();
  int patience_ms() const noexcept;
  void serve_client(ConnectedClient& client);
  bool send_reply(const ConnectedClient& client, Reply& reply, const Fd& attachment);
  void break_with(ConnectedClient& client, Refusal why, const std::string& text);
  void lose_connection(ConnectedClient& client);
  void serve_rest(pid_t pid);
  void client_died(int pidfd);
  void drop_client(ConnectedClient& client);

  BrokerParts& parts_;
  BrokerContext& context_;
  Clients& clients_;
  ControlSocket control_socket_;
  Answers answers_;
  Errands errands_;
  Requests requests_;
  std::thread thread_;
};

}  // namespace ipcq::detail
