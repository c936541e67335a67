#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/peer.hpp"
#include "base/poll_until.hpp"
#include "broker/broker_core.hpp"
#include "ipcq/error.hpp"
#include "repair/membership.hpp"

namespace ipcq::detail {

void BrokerCore::watch(int fd) {
  epoll_event e{};
  e.events = EPOLLIN | EPOLLRDHUP;
  e.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0) {
    throw_system(errno, "epoll_ctl", "broker '" + name_.name() + "'");
  }
}

// How long the loop may sleep, in ms; for ever (-1) in a broker that has nothing under way. A group waits to be
// dissolved only while a producer stands between claim and publish, an executor to change only while its queue is full,
// a runner to be gone only while it ends, a connection for its hello five seconds.
int BrokerCore::patience() const noexcept {
  if (leaving_) return 1;
  if (switching_) return 5;
  if (losing_ || accept_again_ns_ != 0) return 100;
  if (!half_open_) return -1;
  std::uint64_t soonest = kNever;
  for (const auto& c : clients_) {
    if (is_to_say_hello(*c)) soonest = std::min(soonest, c->accepted_at_ns + kHelloWithinNs);
  }
  if (soonest == kNever) return -1;
  const std::uint64_t now = now_ns();
  return soonest <= now ? 0 : static_cast<int>((soonest - now) / 1'000'000) + 1;
}

void BrokerCore::serve() noexcept {
  for (;;) {
    epoll_event events[16];
    int timeout = -1;
    {
      const std::scoped_lock lock(mutex_);
      timeout = patience();
    }
    const int n = ::epoll_wait(epoll_.get(), events, 16, timeout);
    const std::scoped_lock lock(mutex_);
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (fd == quit_.get()) return;
      try {
        if (fd == listener_.get()) {
          accept_clients();
        } else if (late_writer_died(fd) || serve_quarantine(fd) || serve_runner(fd)) {
          continue;
        } else if (ClientState* const client = client_at(fd)) {
          serve_client(*client);
        } else {
          client_died(fd);
        }
      } catch (const std::exception& e) {
        log(LogLevel::error, std::string("broker '") + name_.name() + "': " + e.what());
      }
    }
    leaving_ = leaving_ && !finish_leaving();
    switching_ = switching_ && !finish_switching();
    losing_ = losing_ && !end_lost_runners();
    look_at_quarantines();
    try {
      half_open_ = half_open_ && !end_half_open();
      resume_accepting();
    } catch (const std::exception& e) {
      log(LogLevel::error, std::string("broker '") + name_.name() + "': " + e.what());
    }
    reserve_.fill();
  }
}

// Null when that is the socket of none.
ClientState* BrokerCore::client_at(int socket) const {
  const auto it =
      std::find_if(clients_.begin(), clients_.end(), [&](const auto& c) { return c->socket.get() == socket; });
  return it == clients_.end() ? nullptr : it->get();
}

void BrokerCore::serve_client(ClientState& client) {
  const int fd = client.socket.get();
  Request request;
  Incoming message;
  switch (look_at_next(fd, &request, sizeof request, message)) {
    case Look::nothing:
      return;  // the event was for an earlier owner of this number
    case Look::closed:
      return lose_connection(client);
    case Look::message:
      break;
  }
  const std::string whose = "client pid " + std::to_string(client.pid) + ": ";
  if (message.has_descriptors) {
    return break_with(client, Refusal::usage, whose + "sent a descriptor with its request; no request has one");
  }
  drop_next(fd);
  if (message.bytes != sizeof request || request.magic != kControlMagic) {
    return break_with(client, Refusal::usage,
                      whose + "sent " + std::to_string(message.bytes) +
                          " bytes that are no request; use one release of libipcq for client and broker");
  }
  if (request.abi != kLayoutVersion) {
    return break_with(client, Refusal::usage,
                      "broker '" + name_.name() + "': has ABI " + std::to_string(kLayoutVersion) +
                          ", the client has ABI " + std::to_string(request.abi) +
                          "; use one release of libipcq for both");
  }
  if ((!client.attached || message.sender == client.pid) && answer_later(client, request)) return;
  Fd attachment;
  Reply reply = try_to_answer(client, request, message.sender, attachment);
  reply.serial = request.serial;
  const bool bye = request.op == Op::bye && reply.refusal == Refusal::none;
  const bool goes_on = send_reply(client, reply, attachment);
  if (bye) return drop_client(client);
  if (!goes_on) lose_connection(client);
}

// False when the connection is of no use any more. A client that has hung up may have sent more before, such as what it
// closes: that is read first, and then the end of the connection.
bool BrokerCore::send_reply(const ClientState& client, Reply& reply, const Fd& attachment) {
  reply.broker_pid = getpid();
  if (send_message(client.socket.get(), &reply, sizeof reply, attachment.get())) return true;
  const bool hung_up = errno == EPIPE || errno == ECONNRESET;
  if (reply.client != 0) close_client(client, reply.client, Closing::never_used);
  return hung_up;
}

Reply BrokerCore::try_to_answer(ClientState& client, const Request& request, pid_t sender, Fd& attachment) {
  for (bool again = false;; again = true) {
    try {
      return answer(client, request, sender, attachment);
    } catch (const NotFoundError& e) {
      return refuse(Refusal::not_found, e.what());
    } catch (const SystemError& e) {
      const bool answer_alone = request.op == Op::stats || request.op == Op::dump;  // may be asked for twice
      const bool no_descriptor = e.code() == EMFILE || e.code() == ENFILE;
      if (!again && answer_alone && no_descriptor && is_owner(client.uid) && reserve_.lend()) continue;
      const std::string text = "broker '" + name_.name() + "': " + e.what();
      complain(text);
      return refuse(Refusal::shortage, text);
    } catch (const std::exception& e) {
      return refuse(Refusal::usage, e.what());
    }
  }
}

// Only a process itself speaks for it. So what is open in its name has been opened by it, and ends with the process
// that its pidfd names: docs/design/layout.md, "Control socket".
Reply BrokerCore::answer(ClientState& client, const Request& request, pid_t sender, Fd& attachment) {
  if (client.attached && sender != client.pid) {
    return refuse(Refusal::permission, "client pid " + std::to_string(client.pid) + ": process " +
                                           std::to_string(sender) +
                                           " used its connection; a forked child connects anew");
  }
  switch (request.op) {
    case Op::hello:
      return hello(client, sender);
    case Op::open_producer:
    case Op::open_consumer:
      return open_endpoint(client, request);
    case Op::close_endpoint:
      close_client(client, request.client,
                   (request.flags & kNeverUsed) != 0   ? Closing::never_used
                   : (request.flags & kBrokenOff) != 0 ? Closing::broken_off
                                                       : Closing::clean);
      return {};
    case Op::bye:
      end_sessions({&client}, Closing::never_used);
      return {};
    case Op::stats:
    case Op::dump:
      if (has_asked(client)) {
        return refuse(Refusal::busy,
                      "client pid " + std::to_string(client.pid) + ": asks before its last question was answered");
      }
      return answer_now(request, attachment);
    case Op::end_of_stream:
      end_stream(find(get_text(request.name, sizeof request.name)));
      return {};
    case Op::set_executor:
      return set_executor(find(get_text(request.name, sizeof request.name)), request.executor);
  }
  return refuse(Refusal::usage, "broker '" + name_.name() + "': unknown request " +
                                    std::to_string(static_cast<std::uint32_t>(request.op)));
}

Reply BrokerCore::hello(ClientState& client, pid_t sender) {
  const std::string ours = "broker '" + name_.name() + "': ";
  const std::string whose = "client pid " + std::to_string(client.pid);
  if (client.attached) return refuse(Refusal::usage, whose + ": said hello twice");
  if (client.pid == 0 || sender == 0) {
    return refuse(Refusal::permission,
                  ours +
                      "cannot see the client's process, which is in a PID namespace that is not the broker's or below "
                      "it; start both in one (containers: the same --pid), or the broker in the outer one");
  }
  if (sender != client.pid) {
    return refuse(Refusal::permission, whose + ": process " + std::to_string(sender) +
                                           " said hello on its connection; a client vouches for itself only");
  }
  Fd process = process_behind(client.socket.get());
  if (!process) {
    const int error = errno;
    if (error == ESRCH) return refuse(Refusal::usage, whose + ": has ended");
    const bool absent = error == ENOSYS || error == EPERM;
    throw SystemError(
        error, "cannot watch " + whose + ": " + std::system_category().message(error) +
                   (absent ? "; the broker needs pidfd_open (Linux 5.3): let its seccomp profile allow that, and "
                             "do not run it below a valgrind that does not know it"
                           : "; raise the broker's limit of open files: ulimit -n"));
  }
  watch(process.get());
  client.pidfd = std::move(process);
  client.attached = true;
  return {};
}

BrokerCore::Endpoints BrokerCore::endpoints_of(const ClientState& client) const {
  Endpoints found = Endpoints::none;
  for (const auto& [name, q] : queues_) {
    for (const auto& e : q.endpoints) {
      if (e.client == 0 || e.session != client.socket.get()) continue;
      if (e.uses_cuda) return Endpoints::with_gpu;
      found = Endpoints::some;
    }
  }
  return found;
}

// End of file alone proves nothing about the process: a child may have closed its copy, an exec may have dropped it.
void BrokerCore::lose_connection(ClientState& client) {
  const Endpoints open = endpoints_of(client);
  if (open == Endpoints::none) return drop_client(client);  // has nothing of ours
  unwatch(client.socket.get());
  // Its number stays: it is the name of its endpoints. And where GPU work may outlive the process, only the other end's
  // being closed says that no child has it (broker_quarantine.cpp): not to be had once this end was shut down.
  const bool quarantined = std::any_of(quarantines_.begin(), quarantines_.end(),
                                       [&](const Quarantine& q) { return q.session == client.socket.get(); });
  if (open == Endpoints::some && !quarantined) ::shutdown(client.socket.get(), SHUT_RDWR);
  client.suspect = true;
}

std::vector<ClientState*> BrokerCore::ended_sessions(pid_t pid) const {
  std::vector<ClientState*> sessions;
  for (const auto& c : clients_) {
    if (c->attached && c->pid == pid && has_ended(c->pidfd)) sessions.push_back(c.get());
  }
  return sessions;
}

// What a process asked before it ended comes first: it may have closed its endpoints without waiting for the answers.
// Bounded, as a forked child may go on sending; what that sends is refused.
void BrokerCore::serve_rest(pid_t pid) {
  constexpr int kMost = 2 * static_cast<int>(kMaxEndpoints);
  std::vector<int> sockets;
  for (const ClientState* c : ended_sessions(pid)) {
    if (!c->suspect) sockets.push_back(c->socket.get());
  }
  for (const int fd : sockets) {
    for (int n = 0; n < kMost; ++n) {
      ClientState* const client = client_at(fd);
      pollfd p{fd, POLLIN, 0};
      if (client == nullptr || client->suspect || poll_until(&p, 1, 0) <= 0) break;
      serve_client(*client);
    }
  }
}

// All sessions of the process end at once: a forward may go from one to another.
void BrokerCore::client_died(int pidfd) {
  const auto it = std::find_if(clients_.begin(), clients_.end(), [&](auto& c) { return c->pidfd.get() == pidfd; });
  if (it == clients_.end()) return;
  const pid_t pid = (*it)->pid;
  serve_rest(pid);
  const std::vector<ClientState*> sessions = ended_sessions(pid);
  if (sessions.empty()) return;  // all said goodbye, or the event was for an earlier owner of this number
  ++deaths_;
  const bool inherited =
      std::any_of(sessions.begin(), sessions.end(), [](const ClientState* c) { return !has_hung_up(c->socket.get()); });
  log(LogLevel::warning, "client pid " + std::to_string(pid) + ": ended without detaching" +
                             (inherited ? ", and a child that it forked lives on with its connection" : ""));
  end_sessions(sessions, Closing::broken_off);
  for (ClientState* c : sessions) drop_client(*c);
}

// By hand, as closing alone leaves a descriptor in while a copy lives: a child that this process forked has copies,
// other brokers of it have copies of a runner's, and their events would come for ever.
void BrokerCore::unwatch(int fd) noexcept { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void BrokerCore::drop_client(ClientState& client) {
  keep_connection(client);
  for (const Fd* fd : {&client.socket, &client.pidfd}) {
    if (*fd) unwatch(fd->get());
  }
  clients_.erase(std::find_if(clients_.begin(), clients_.end(), [&](const auto& c) { return c.get() == &client; }));
}

}  // namespace ipcq::detail
