// Who may connect to the broker, and for how long without a hello. A client can take neither the descriptors of others
// nor the control thread's time.
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "base/peer.hpp"
#include "broker/broker_core.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

// Requests of those that are connected come in between.
constexpr int kAcceptedAtOnce = 8;
constexpr std::uint64_t kAcceptAgainNs = 100'000'000;
constexpr std::uint64_t kComplainEveryNs = 1'000'000'000;

bool is_shortage(int error) { return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS; }

Fd accept_one(int listener) noexcept {
  for (;;) {
    Fd socket(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket || (errno != EINTR && errno != ECONNABORTED)) return socket;
  }
}

}  // namespace

void BrokerCore::accept_clients() {
  for (int i = 0; i < kAcceptedAtOnce; ++i) {
    Fd socket = accept_one(listener_.get());
    bool on_reserve = false;
    if (!socket && is_shortage(errno)) {
      // The connection would stay pending and wake the loop for ever: take it with what was kept for that.
      on_reserve = reserve_.lend();
      if (on_reserve) socket = accept_one(listener_.get());
    }
    if (socket) {
      take_in(std::move(socket), on_reserve);
      continue;
    }
    const int error = errno;
    if (error == EAGAIN) return;
    pause_accepting();
    throw_system(error, "accept4", "control socket " + name_.socket_path(), is_shortage(error) ? "clients wait" : "");
  }
}

Load BrokerCore::load_of(std::uint32_t uid) const {
  Load load;
  for (const auto& c : clients_) {
    load.half_open += !c->attached && c->uid == uid ? 1 : 0;
    load.foreign_connections += is_owner(c->uid) ? 0 : 1;
  }
  return load;
}

void BrokerCore::take_in(Fd socket, bool on_reserve) {
  auto client = std::make_unique<ClientState>(std::move(socket), closer_);  // from here on the closer's to close
  Peer peer;
  if (!get_peer(client->socket.get(), peer)) {
    throw_system(errno, "getsockopt(SO_PEERCRED)", "control socket " + name_.socket_path());
  }
  client->pid = peer.pid;
  client->uid = peer.uid;
  client->accepted_at_ns = now_ns();
  const std::string ours = "broker '" + name_.name() + "': ";
  const std::string user = "user " + std::to_string(peer.uid);
  const Share share = share_of(open_files_limit());
  // One of the reserve is left to turn the next one away with, one for the answer.
  if (on_reserve && (!is_owner(peer.uid) || reserve_.size() < 2)) {
    return turn_away(*client, Refusal::shortage,
                     ours +
                         "has no descriptor left for another client; raise its limit of open files (ulimit -n, now " +
                         std::to_string(open_files_limit()) + ")");
  }
  switch (admit(peer.uid, load_of(peer.uid), share)) {
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
  watch(client->socket.get());
  clients_.push_back(std::move(client));
  half_open_ = true;
}

// The connection is ended next.
void BrokerCore::turn_away(const ClientState& client, Refusal why, const std::string& text) {
  Reply reply = refuse(why, text);
  reply.broker_pid = getpid();
  (void)send_message(client.socket.get(), &reply, sizeof reply);
  complain(text + " (pid " + std::to_string(client.pid) + " turned away)");
}

// It broke the protocol, or took too long.
void BrokerCore::break_with(ClientState& client, Refusal why, const std::string& text) {
  turn_away(client, why, text);
  lose_connection(client);
}

void BrokerCore::pause_accepting() {
  unwatch(listener_.get());
  accept_again_ns_ = now_ns() + kAcceptAgainNs;
}

void BrokerCore::resume_accepting() {
  if (accept_again_ns_ == 0 || now_ns() < accept_again_ns_) return;
  accept_again_ns_ = now_ns() + kAcceptAgainNs;  // should watch() throw
  watch(listener_.get());
  accept_again_ns_ = 0;
}

// Who waits for an answer has said enough (`ipcq stats` says no hello).
bool BrokerCore::is_to_say_hello(const ClientState& client) const { return !client.attached && !has_asked(client); }

// True when no connection is half-open any more.
bool BrokerCore::end_half_open() {
  const std::uint64_t now = now_ns();
  bool none = true;
  std::vector<ClientState*> late;
  for (const auto& c : clients_) {
    if (c->attached) continue;
    none = false;
    if (is_to_say_hello(*c) && now - c->accepted_at_ns >= kHelloWithinNs) late.push_back(c.get());
  }
  for (ClientState* c : late) {
    break_with(*c, Refusal::busy,
               "broker '" + name_.name() + "': no hello within " + std::to_string(kHelloWithinNs / 1'000'000'000) +
                   " s of connecting");
  }
  return none;
}

// What clients cause is not to fill anybody's log.
void BrokerCore::complain(const std::string& text) {
  const std::uint64_t now = now_ns();
  if (complained_at_ns_ != 0 && now - complained_at_ns_ < kComplainEveryNs) {
    ++complaints_kept_;
    return;
  }
  log(LogLevel::warning, text + (complaints_kept_ == 0 ? "" : "; and " + std::to_string(complaints_kept_) + " more"));
  complained_at_ns_ = now;
  complaints_kept_ = 0;
}

}  // namespace ipcq::detail
