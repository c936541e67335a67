#include "broker/control_socket.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/deadline.hpp"
#include "base/peer.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

// Connections accepted in one round of the event loop, so that requests of connected clients get their turn.
constexpr int kAcceptedAtOnce = 8;
constexpr std::uint64_t kAcceptAgainNs = 100'000'000;
constexpr int kPausedLookMs = 100;

bool is_shortage(int error) { return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS; }

Fd accept_one(int listener) noexcept {
  for (;;) {
    Fd socket(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket || (errno != EINTR && errno != ECONNABORTED)) return socket;
  }
}

// A connection whose question is open needs no hello: `ipcq stats` says none.
bool is_to_say_hello(const ConnectedClient& client) { return !client.attached && !client.asking; }

}  // namespace

ControlSocket::ControlSocket(BrokerContext& context, Clients& clients, Closer& closer, const std::string& unix_group)
    : context_(context),
      clients_(clients),
      closer_(closer),
      socket_(context.name.listen(context.access.mode, context.access.gid)) {
  if (context_.access.gid >= 0 && !context_.name.is_reachable_by(context_.access.gid)) {
    context_.log(LogLevel::warning, context_.self() + ": the directory of " + context_.name.socket_path() +
                                        " is closed to members of group '" + unix_group +
                                        "'; give the broker a path (--name) in one that they may search");
  }
  context_.polls.watch(socket_.get());
}

void ControlSocket::accept() {
  for (int i = 0; i < kAcceptedAtOnce; ++i) {
    // What a connection that was turned away gave back is the reserve's: the next connection, of whatever user, would
    // take it.
    context_.reserve.fill();
    Fd socket = accept_one(socket_.get());
    bool on_reserve = false;
    if (!socket && is_shortage(errno)) {
      // A connection that stays pending would wake the loop again and again: accept it with a descriptor of the
      // reserve.
      on_reserve = context_.reserve.lend();
      if (on_reserve) socket = accept_one(socket_.get());
    }
    if (socket) {
      take_in(std::move(socket), on_reserve);
      continue;
    }
    const int error = errno;
    if (error == EAGAIN) return;
    pause();
    throw_system(error, "accept4", "control socket " + context_.name.socket_path(),
                 is_shortage(error) ? "clients wait" : "");
  }
}

void ControlSocket::take_in(Fd socket, bool on_reserve) {
  auto client = std::make_unique<ConnectedClient>(std::move(socket), closer_);  // from here on the closer closes it
  Peer peer;
  if (!get_peer(client->socket.get(), peer)) {
    throw_system(errno, "getsockopt(SO_PEERCRED)", "control socket " + context_.name.socket_path());
  }
  client->pid = peer.pid;
  client->uid = peer.uid;
  client->administrates =
      is_owner(peer.uid) ||
      (context_.admin_gid >= 0 && peer_is_in_group(client->socket.get(), static_cast<gid_t>(context_.admin_gid)));
  client->accepted_at_ns = now_ns();
  const std::string ours = context_.self() + ": ";
  const std::string user = "user " + std::to_string(peer.uid);
  const Share share = share_of(open_files_limit());
  // Two stay in the reserve: one to turn the next connection away, one for the memfd of an answer.
  if (on_reserve && (!is_owner(peer.uid) || context_.reserve.size() < 2)) {
    return turn_away(*client, Refusal::shortage,
                     ours +
                         "has no descriptor left for another client; raise its limit of open files (ulimit -n, now " +
                         std::to_string(open_files_limit()) + ")");
  }
  switch (admit(peer.uid, clients_.load_of(peer.uid), share)) {
    case Admittance::yes:
      break;
    case Admittance::too_many_half_open:
      return turn_away(*client, Refusal::busy,
                       ours + user + " has " + std::to_string(share.half_open) +
                           " connections that have said no hello; they are ended after " +
                           std::to_string(kHelloWithinNs / 1'000'000'000) + " s");
    case Admittance::too_many_foreign:
      return turn_away(*client, Refusal::shortage,
                       ours + "users other than its own have " + std::to_string(share.foreign / 2) +
                           " connections, all that its limit of open files allows (half of ulimit -n)");
  }
  context_.polls.watch(client->socket.get());
  clients_.add(std::move(client));
  half_open_ = true;
}

void ControlSocket::turn_away(const ConnectedClient& client, Refusal why, const std::string& text) {
  Reply reply = refuse(why, text);
  reply.broker_pid = getpid();
  (void)send_message(client.socket.get(), &reply, sizeof reply);
  context_.complain(text + " (pid " + std::to_string(client.pid) + " turned away)");
}

void ControlSocket::pause() {
  context_.polls.unwatch(socket_.get());
  accept_again_ns_ = now_ns() + kAcceptAgainNs;
}

void ControlSocket::resume() {
  if (accept_again_ns_ == 0 || now_ns() < accept_again_ns_) return;
  accept_again_ns_ = now_ns() + kAcceptAgainNs;  // should watch() throw
  context_.polls.watch(socket_.get());
  accept_again_ns_ = 0;
}

std::vector<ConnectedClient*> ControlSocket::late_for_hello() {
  std::vector<ConnectedClient*> late;
  if (!half_open_) return late;
  const std::uint64_t now = now_ns();
  half_open_ = false;
  for (const auto& c : clients_) {
    if (c->attached) continue;
    half_open_ = true;
    if (is_to_say_hello(*c) && now - c->accepted_at_ns >= kHelloWithinNs) late.push_back(c.get());
  }
  return late;
}

int ControlSocket::due_in_ms() const noexcept {
  if (accept_again_ns_ != 0) return kPausedLookMs;
  if (!half_open_) return -1;
  std::uint64_t soonest = kNever;
  for (const auto& c : clients_) {
    if (is_to_say_hello(*c)) soonest = std::min(soonest, c->accepted_at_ns + kHelloWithinNs);
  }
  if (soonest == kNever) return -1;
  const std::uint64_t now = now_ns();
  return soonest <= now ? 0 : static_cast<int>((soonest - now) / 1'000'000) + 1;
}

}  // namespace ipcq::detail
