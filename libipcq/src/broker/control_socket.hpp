// The broker's control socket: accepts connections, limits their number for each user, and finds those that say no
// hello in time.
//
// Thread safety: guarded by the broker's mutex; used by the control thread, and by stop() once that has ended.
// Invariant: no user's connections use up the descriptors of others (admission.hpp), and no call waits for a client.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "broker/broker_context.hpp"
#include "broker/clients.hpp"
#include "broker/closer.hpp"
#include "control/control.hpp"

namespace ipcq::detail {

class ControlSocket {
 public:
  // Opens the socket; accepted connections are added to `clients`. Throws SystemError, PermissionError.
  ControlSocket(BrokerContext& context, Clients& clients, Closer& closer, const std::string& unix_group);
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  int socket() const noexcept { return socket_.get(); }
  // Accepts some of the connections that wait. If it cannot, it stops watching the socket for a while (a pause) and
  // throws SystemError.
  void accept();
  // Ends a pause that is over. Throws SystemError if it cannot; a later call tries again.
  void resume();
  // Tells the client why its connection ends. The caller ends it.
  void turn_away(const ConnectedClient& client, Refusal why, const std::string& text);
  // Connections whose time for a hello is over.
  std::vector<ConnectedClient*> late_for_hello();
  // How long until resume() or late_for_hello() are due, in ms; -1: never.
  int due_in_ms() const noexcept;
  Fd take_socket() noexcept { return std::move(socket_); }

 private:
  void take_in(Fd socket, bool on_reserve);
  void pause();

  BrokerContext& context_;
  Clients& clients_;
  Closer& closer_;
  Fd socket_;
  bool half_open_ = false;             // some connection may still lack its hello
  std::uint64_t accept_again_ns_ = 0;  // end of the pause; 0: none
};

}  // namespace ipcq::detail
