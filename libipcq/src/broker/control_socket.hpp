// The broker's control socket: who may connect, and for how long without a hello. A client can take neither the
// descriptors of others nor the control thread's time.
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
  // Opens the socket; its clients are put into `clients`. Throws SystemError, PermissionError.
  ControlSocket(BrokerContext& context, Clients& clients, Closer& closer, const std::string& unix_group);
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  int socket() const noexcept { return socket_.get(); }
  // Accepts connections that wait, a few at a time. Throws SystemError, and pauses, where that cannot be done.
  void accept();
  // Goes on after a pause. Throws SystemError when it cannot yet.
  void resume();
  // Says why the connection is ended; ending it is the caller's.
  void turn_away(const ConnectedClient& client, Refusal why, const std::string& text);
  // Connections that have had their time for a hello.
  std::vector<ConnectedClient*> late_for_hello();
  // How long until resume() or late_for_hello() are due, in ms; -1: they are not.
  int due_in_ms() const noexcept;
  Fd take_socket() noexcept { return std::move(socket_); }

 private:
  void take_in(Fd socket, bool on_reserve);
  void pause();

  BrokerContext& context_;
  Clients& clients_;
  Closer& closer_;
  Fd socket_;
  bool half_open_ = false;             // some connection may have said no hello
  std::uint64_t accept_again_ns_ = 0;  // 0: it accepts
};

}  // namespace ipcq::detail
