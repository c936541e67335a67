#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "broker_core.hpp"
#include "ipcq/error.hpp"
#include "membership.hpp"

namespace ipcq::detail {

ClientState::~ClientState() {
  if (socket) ::shutdown(socket.get(), SHUT_RDWR);
}

void BrokerCore::watch(int fd) {
  epoll_event e{};
  e.events = EPOLLIN | EPOLLRDHUP;
  e.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0) {
    throw_system(errno, "epoll_ctl", "broker '" + name_.name() + "'");
  }
}

void BrokerCore::serve() noexcept {
  for (;;) {
    epoll_event events[16];
    // A group waits to be dissolved only while a producer stands between claim and publish, an executor to change only
    // while its queue is full, a runner to be gone only while it ends.
    const int n = ::epoll_wait(epoll_.get(), events, 16, leaving_ ? 1 : switching_ ? 5 : losing_ ? 100 : -1);
    const std::scoped_lock lock(mutex_);
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (fd == quit_.get()) return;
      try {
        if (fd == listener_.get()) {
          accept_clients();
        } else if (late_writer_died(fd) || serve_quarantine(fd) || serve_runner(fd)) {
          continue;
        } else if (std::any_of(clients_.begin(), clients_.end(), [&](auto& c) { return c->socket.get() == fd; })) {
          serve_client(fd);
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
  }
}

void BrokerCore::accept_clients() {
  for (;;) {
    Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      const int error = errno;
      if (error == EINTR || error == ECONNABORTED) continue;
      if (error == EAGAIN) return;
      if ((error == EMFILE || error == ENFILE) && spare_) {
        // The connection would stay pending and wake the loop for ever: take it with the spare descriptor and hang up.
        spare_.reset();
        Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)).reset();
        spare_ = make_eventfd();
      }
      throw_system(error, "accept4", "control socket " + name_.socket_path(), "a client was turned away");
    }
    auto client = std::make_unique<ClientState>();
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
      throw_system(errno, "getsockopt(SO_PEERCRED)", "control socket " + name_.socket_path());
    }
    client->pid = peer.pid;
    client->uid = peer.uid;
    client->socket = std::move(socket);
    watch(client->socket.get());
    clients_.push_back(std::move(client));
  }
}

void BrokerCore::serve_client(int fd) {
  const auto it = std::find_if(clients_.begin(), clients_.end(), [&](const auto& c) { return c->socket.get() == fd; });
  ClientState& client = **it;
  Request request;
  Fd received;
  const int got = receive_message(fd, &request, sizeof request, received);
  if (got < 0 && errno == EAGAIN) return;  // the event was for an earlier owner of this number
  if (got <= 0) return lose_connection(client);
  Fd attachment;
  Reply reply;
  try {
    reply = answer(client, request, received, attachment);
  } catch (const NotFoundError& e) {
    reply = refuse(Refusal::not_found, e.what());
  } catch (const std::exception& e) {
    reply = refuse(Refusal::usage, e.what());
  }
  reply.serial = request.serial;
  reply.broker_pid = getpid();
  const bool bye = request.op == Op::bye;
  if (!send_message(fd, &reply, sizeof reply, attachment.get()))
    return bye ? drop_client(client) : lose_connection(client);
  if (bye) drop_client(client);
}

Reply BrokerCore::answer(ClientState& client, const Request& request, Fd& received, Fd& attachment) {
  if (request.magic != kControlMagic || request.abi != kLayoutVersion) {
    return refuse(Refusal::usage, "broker '" + name_.name() + "': has ABI " + std::to_string(kLayoutVersion) +
                                      ", the client has ABI " + std::to_string(request.abi) +
                                      "; use one release of libipcq for both");
  }
  switch (request.op) {
    case Op::hello:
      return hello(client, received);
    case Op::open_producer:
    case Op::open_consumer:
      return open_endpoint(client, request);
    case Op::close_endpoint:
      for (auto& [name, q] : queues_) {
        for (auto& e : q.endpoints) {
          if (e.client == request.client && e.client != 0 && e.session == client.socket.get()) {
            close_endpoint(q, e,
                           (request.flags & kNeverUsed) != 0   ? Closing::never_used
                           : (request.flags & kBrokenOff) != 0 ? Closing::broken_off
                                                               : Closing::clean,
                           true);
          }
        }
      }
      return {};
    case Op::bye:
      end_sessions({&client}, true);
      return {};
    case Op::stats:
      attachment = make_memfd(encode(stats_locked()));
      return {};
    case Op::dump:
      attachment = make_memfd(dump_locked(get_text(request.name, sizeof request.name)));
      return {};
    case Op::end_of_stream:
      end_stream(find(get_text(request.name, sizeof request.name)));
      return {};
    case Op::set_executor:
      return set_executor(find(get_text(request.name, sizeof request.name)), request.executor);
  }
  return refuse(Refusal::usage, "broker '" + name_.name() + "': unknown request " +
                                    std::to_string(static_cast<std::uint32_t>(request.op)));
}

Reply BrokerCore::hello(ClientState& client, Fd& pidfd) {
  if (client.attached) return refuse(Refusal::usage, "client: said hello twice");
  if (!pidfd) return refuse(Refusal::usage, "client: sent no pidfd");
  const pid_t pid = pid_of(pidfd.get());
  if (client.pid == 0 || pid == 0) {
    return refuse(Refusal::permission,
                  "broker '" + name_.name() +
                      "': cannot see the client's process, which is in a PID namespace that is not the broker's or "
                      "below it; start both in one (containers: the same --pid), or the broker in the outer one");
  }
  if (pid <= 0 || (client.pid != 0 && client.pid != pid)) {
    return refuse(Refusal::permission, "client pid " + std::to_string(client.pid) + ": sent the pidfd of process " +
                                           std::to_string(pid) + "; a client vouches for itself only");
  }
  client.pid = pid;
  watch(pidfd.get());
  client.pidfd = std::move(pidfd);
  client.attached = true;
  return {};
}

// End of file alone proves nothing about the process: a child may have closed its copy, an exec may have dropped it.
void BrokerCore::lose_connection(ClientState& client) {
  if (!client.attached) return drop_client(client);  // has nothing of ours
  unwatch(client.socket.get());
  client.suspect = true;
}

// All sessions of the process end at once: a forward may go from one to another.
void BrokerCore::client_died(int pidfd) {
  const auto it = std::find_if(clients_.begin(), clients_.end(), [&](auto& c) { return c->pidfd.get() == pidfd; });
  if (it == clients_.end()) return;
  std::vector<ClientState*> sessions;
  for (const auto& c : clients_) {
    if (c->attached && c->pid == (*it)->pid && has_ended(c->pidfd)) sessions.push_back(c.get());
  }
  if (sessions.empty()) return;  // the event was for an earlier owner of this number
  ++deaths_;
  const bool inherited =
      std::any_of(sessions.begin(), sessions.end(), [](const ClientState* c) { return !has_hung_up(c->socket.get()); });
  log(LogLevel::warning, "client pid " + std::to_string((*it)->pid) + ": ended without detaching" +
                             (inherited ? ", and a child that it forked lives on with its connection" : ""));
  end_sessions(sessions, false);
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
