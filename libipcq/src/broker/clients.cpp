#include "broker/clients.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

namespace ipcq::detail {

std::uint64_t ConnectedClient::next_number() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

template <class Is>
ConnectedClient* Clients::find(Is is) const {
  const auto it = std::find_if(list_.begin(), list_.end(), [&](const auto& c) { return is(*c); });
  return it == list_.end() ? nullptr : it->get();
}

void Clients::remove(const ConnectedClient& client) {
  std::erase_if(list_, [&](const auto& c) { return c.get() == &client; });
}

ConnectedClient* Clients::at_socket(int socket) const {
  return find([socket](const ConnectedClient& c) { return c.socket.get() == socket; });
}

ConnectedClient* Clients::at_pidfd(int pidfd) const {
  return find([pidfd](const ConnectedClient& c) { return c.pidfd.get() == pidfd; });
}

ConnectedClient* Clients::numbered(std::uint64_t number) const {
  return find([number](const ConnectedClient& c) { return c.number == number; });
}

std::vector<ConnectedClient*> Clients::ended_sessions(pid_t pid) const {
  std::vector<ConnectedClient*> sessions;
  for (const auto& c : list_) {
    if (c->attached && c->pid == pid && has_ended(c->pidfd)) sessions.push_back(c.get());
  }
  return sessions;
}

Load Clients::load_of(std::uint32_t uid) const {
  Load load;
  for (const auto& c : list_) {
    load.half_open += !c->attached && c->uid == uid ? 1 : 0;
    load.foreign_connections += is_owner(c->uid) ? 0 : 1;
  }
  return load;
}

}  // namespace ipcq::detail
