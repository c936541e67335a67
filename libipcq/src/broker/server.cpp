#include "broker/server.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <string_view>

#include "base/poll_until.hpp"
#include "base/thread.hpp"

namespace ipcq::detail {
namespace {

// How often the loop looks after what no event announces: a group that is being dissolved waits for a producer between
// claim and publish, or for GPU work; a switch of an executor, for a place in a full queue; a lost runner, for its end.
constexpr int kDissolvingMs = 1;
constexpr int kSwitchingMs = 5;
constexpr int kEndingMs = 100;

}  // namespace

Server::Server(BrokerParts& parts, const std::string& unix_group)
    : parts_(parts),
      context_(parts.context),
      clients_(parts.clients),
      control_socket_(context_, clients_, parts.closer, unix_group),
      answers_(context_, parts.registry, parts.statistics, clients_,
               [this](ConnectedClient& client, Reply& reply, const Fd& attachment) {
                 if (!send_reply(client, reply, attachment)) lose_connection(client);
               }),
      errands_(context_, parts.changes, parts.administration, clients_,
               [this](ConnectedClient& client, Reply& reply, const Fd& attachment) {
                 if (!send_reply(client, reply, attachment)) lose_connection(client);
               }),
      requests_(context_, parts.registry, parts.endpoints, parts.switches, parts.administration, answers_) {
  require_thread(thread_, context_.self(), [this] { run(); });
}

// How long the loop may sleep; for ever (-1) in a broker that has nothing under way.
int Server::patience_ms() const noexcept {
  if (parts_.endpoints.is_dissolving()) return kDissolvingMs;
  if (parts_.switches.is_waiting()) return kSwitchingMs;
  if (parts_.supervisor.is_waiting_for_end()) return kEndingMs;
  return control_socket_.due_in_ms();
}

void Server::run() noexcept {
  for (;;) {
    int timeout = -1;
    {
      const Lock lock(context_.mutex);
      timeout = patience_ms();
    }
    const PollSet::Ready ready = context_.polls.wait(timeout);
    const Lock lock(context_.mutex);
    for (const int fd : ready) {
      if (fd == context_.quit.get()) return;
      try {
        serve(fd);
      } catch (const std::exception& e) {
        context_.log(LogLevel::error, context_.self() + ": " + e.what());
      }
    }
    go_on();
  }
}

void Server::serve(int fd) {
  if (fd == control_socket_.socket()) return control_socket_.accept();
  if (parts_.outliving.serve(fd) || parts_.supervisor.serve(fd)) return;
  if (ConnectedClient* const client = clients_.at_socket(fd)) return serve_client(*client);
  client_died(fd);
}

// After each round of events: continues what is under way.
void Server::go_on() {
  parts_.endpoints.dissolve();
  parts_.switches.try_again();
  parts_.supervisor.end_lost();
  parts_.outliving.check_quarantines();
  try {
    for (ConnectedClient* c : control_socket_.late_for_hello()) {
      break_with(
          *c, Refusal::busy,
          context_.self() + ": no hello within " + std::to_string(kHelloWithinNs / 1'000'000'000) + " s of connecting");
    }
    control_socket_.resume();
  } catch (const std::exception& e) {
    context_.log(LogLevel::error, context_.self() + ": " + e.what());
  }
  context_.reserve.fill();
}

void Server::serve_client(ConnectedClient& client) {
  const int fd = client.socket.get();
  struct {
    Request request;
    char behind[kMostClaimBytes];
  } got;
  const Request& request = got.request;
  Incoming message;
  switch (peek_next(fd, &got, sizeof got, message)) {
    case Peek::nothing:
      return;  // the event was for an earlier owner of this number
    case Peek::closed:
      return lose_connection(client);
    case Peek::message:
      break;
  }
  const std::string whose = "client pid " + std::to_string(client.pid) + ": ";
  if (message.has_descriptors) {
    return break_with(client, Refusal::usage, whose + "sent a descriptor with its request; no request has one");
  }
  drop_next(fd);
  const bool opens = request.op == Op::open_producer || request.op == Op::open_consumer;
  if (message.bytes < sizeof request || message.bytes > (opens ? sizeof got : sizeof request) ||
      request.magic != kControlMagic) {
    return break_with(client, Refusal::usage,
                      whose + "sent " + std::to_string(message.bytes) +
                          " bytes that are no request; use one release of libipcq for client and broker");
  }
  if (request.abi != kAbiVersion) {
    return break_with(client, Refusal::usage,
                      context_.self() + ": has ABI " + std::to_string(kAbiVersion) + ", the client has ABI " +
                          std::to_string(request.abi) + "; use one release of libipcq for both");
  }
  const bool may_ask = !client.attached || message.sender == client.pid;
  if (may_ask && (answers_.take(client, request) || errands_.take(client, request))) return;
  Fd attachment;
  const std::string_view behind(got.behind, message.bytes - sizeof request);
  Reply reply = requests_.answer(client, request, behind, message.sender, attachment);
  reply.serial = request.serial;
  const bool bye = request.op == Op::bye && reply.refusal == Refusal::none;
  const bool goes_on = send_reply(client, reply, attachment);
  if (bye) return drop_client(client);
  if (!goes_on) lose_connection(client);
}

// False: the connection is of no use any more. True also if the client has hung up: what it sent before, such as closes
// of endpoints, is read first, and then the end of the connection.
bool Server::send_reply(const ConnectedClient& client, Reply& reply, const Fd& attachment) {
  reply.broker_pid = getpid();
  if (send_message(client.socket.get(), &reply, sizeof reply, attachment.get())) return true;
  const bool hung_up = errno == EPIPE || errno == ECONNRESET;
  if (reply.client != 0) parts_.endpoints.close(client, reply.client, Closing::never_used);
  return hung_up;
}

// Ends the connection of a client that broke the protocol, or said no hello in time.
void Server::break_with(ConnectedClient& client, Refusal why, const std::string& text) {
  control_socket_.turn_away(client, why, text);
  lose_connection(client);
}

// End of file alone proves nothing about the process: a child may have closed its copy, an exec may have dropped it.
void Server::lose_connection(ConnectedClient& client) {
  const Endpoints::Open open = parts_.endpoints.open_of(client);
  if (open == Endpoints::Open::none) return drop_client(client);  // it has no endpoint open
  const int fd = client.socket.get();
  context_.polls.unwatch(fd);
  // The descriptor stays open, since the client's endpoints name their session by its number. Where GPU work may
  // outlive the process, it is not shut down either: then it shows when the last child has closed the other end
  // (outliving_work.hpp).
  if (open == Endpoints::Open::some && !parts_.outliving.keeps_connection(fd)) ::shutdown(fd, SHUT_RDWR);
  client.suspect = true;
}

// Serves what a process asked before it ended: it may have closed its endpoints without waiting for the answers.
// Bounded, as a forked child may go on sending; what that sends is refused.
void Server::serve_rest(pid_t pid) {
  constexpr int kMost = 2 * static_cast<int>(kMaxEndpoints);
  std::vector<int> sockets;
  for (const ConnectedClient* c : clients_.ended_sessions(pid)) {
    if (!c->suspect) sockets.push_back(c->socket.get());
  }
  for (const int fd : sockets) {
    for (int n = 0; n < kMost; ++n) {
      ConnectedClient* const client = clients_.at_socket(fd);
      pollfd p{fd, POLLIN, 0};
      if (client == nullptr || client->suspect || poll_until(&p, 1, 0) <= 0) break;
      serve_client(*client);
    }
  }
}

// All sessions of the process end at once: a forward may go from one to another.
void Server::client_died(int pidfd) {
  const ConnectedClient* const client = clients_.at_pidfd(pidfd);
  if (client == nullptr) return;
  const pid_t pid = client->pid;
  serve_rest(pid);
  const std::vector<ConnectedClient*> sessions = clients_.ended_sessions(pid);
  if (sessions.empty()) return;  // all said goodbye, or the event was for an earlier owner of this number
  parts_.statistics.count_death();
  const bool inherited = std::any_of(sessions.begin(), sessions.end(),
                                     [](const ConnectedClient* c) { return !has_hung_up(c->socket.get()); });
  context_.log(LogLevel::warning, "client pid " + std::to_string(pid) + ": ended without detaching" +
                                      (inherited ? ", and a child that it forked lives on with its connection" : ""));
  parts_.endpoints.close_all(sessions, Closing::broken_off);
  for (ConnectedClient* c : sessions) drop_client(*c);
}

void Server::drop_client(ConnectedClient& client) {
  parts_.outliving.keep_connection(client);
  for (const Fd* fd : {&client.socket, &client.pidfd}) {
    if (*fd) context_.polls.unwatch(fd->get());
  }
  clients_.remove(client);
}

}  // namespace ipcq::detail
