#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "broker_core.hpp"
#include "ipcq/error.hpp"
#include "membership.hpp"

namespace ipcq::detail {
namespace {

Reply refuse(Refusal why, const std::string& text) {
  Reply r;
  r.refusal = why;
  set_text(r.text, sizeof r.text, text);
  return r;
}

}  // namespace

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
    // A group waits to be dissolved only while a producer stands between claim and publish.
    const int n = ::epoll_wait(epoll_.get(), events, 16, leaving_ ? 1 : -1);
    const std::scoped_lock lock(mutex_);
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (fd == quit_.get()) return;
      try {
        if (fd == listener_.get()) {
          accept_clients();
        } else if (is_runner(fd)) {
          runner_died(fd);
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
      throw_system(error, "accept4", "control socket " + name_.socket_path(),
                   "a client was turned away; raise the limit of open files: ulimit -n");
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
            close_endpoint(q, e, (request.flags & kBrokenOff) == 0, true);
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
      switch_executor(find(get_text(request.name, sizeof request.name)), request.executor);
      return {};
  }
  return refuse(Refusal::usage, "broker '" + name_.name() + "': unknown request " +
                                    std::to_string(static_cast<std::uint32_t>(request.op)));
}

Reply BrokerCore::hello(ClientState& client, Fd& pidfd) {
  if (client.attached) return refuse(Refusal::usage, "client: said hello twice");
  if (!pidfd) return refuse(Refusal::usage, "client: sent no pidfd");
  const pid_t pid = pid_of(pidfd.get());
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

bool BrokerCore::is_id_used(std::uint32_t id) const {
  for (const auto& [name, q] : queues_) {
    for (const auto& e : q.endpoints) {
      if (e.client == id) return true;
    }
  }
  return false;
}

// Ids go round all 22 bits before one comes back, and only those of endpoints that were repaired are free.
std::uint32_t BrokerCore::new_client_id() {
  do {
    last_client_ = (last_client_ + 1) & kClientMask;
  } while (last_client_ <= kBrokerClient || is_id_used(last_client_));
  return last_client_;
}

Reply BrokerCore::open_endpoint(const ClientState& client, const Request& request) {
  if (!client.attached) return refuse(Refusal::usage, "client pid " + std::to_string(client.pid) + ": said no hello");
  QueueEntry& q = find(get_text(request.name, sizeof request.name));
  if (stopped_) return refuse(Refusal::not_found, "queue '" + q.name + "': its broker is stopping");
  const bool consumer = request.op == Op::open_consumer;
  const bool uses_cuda = (request.flags & kUsesCuda) != 0;
  if (const std::string why = device_refusal(q, consumer, uses_cuda); !why.empty()) {
    return refuse(Refusal::backend, why);
  }
  const std::uint32_t index = choose_endpoint(q, consumer);
  if (index == q.endpoints.size()) {
    return refuse(Refusal::usage, "queue '" + q.name + "': all " + std::to_string(q.endpoints.size()) +
                                      " endpoints are in use; create it with more max_endpoints (endpoints=N)");
  }
  unsigned group = 0;
  Reply reply;
  if (uses_cuda) prefer_stream(q);
  if (consumer && !choose_group(q, request, group, reply)) return reply;

  EndpointState& e = q.endpoints[index];
  e.client = new_client_id();
  e.kind = consumer ? EndpointKind::consumer : EndpointKind::producer;
  e.group = group;
  e.pid = client.pid;
  e.uid = client.uid;
  e.session = client.socket.get();
  e.uses_cuda = uses_cuda;
  Endpoint& shared = q.map->endpoint(index);
  shared.kind = static_cast<std::uint32_t>(e.kind);
  shared.pid = e.pid;
  shared.uid = e.uid;
  shared.group = group;
  for (Word* w : {&shared.messages, &shared.bytes, &shared.redelivered, &shared.damaged, &shared.sequence}) {
    w->store(0, std::memory_order_relaxed);
  }
  shared.client.store(e.client, std::memory_order_release);
  if (consumer) {
    ++q.groups[group].members;
  } else {
    ++q.producers;
    q.had_producer = true;
    if (q.producers_lost > 0) --q.producers_lost;  // takes the place of one that died
    q.map->control().end_ticket.store(kNoTicket, std::memory_order_release);
  }
  reply.client = e.client;
  reply.endpoint = index;
  reply.group = group;
  reply.durable = consumer && q.groups[group].durable ? 1 : 0;
  reply.generation = q.map->config().segment.generation;
  set_text(reply.queue_segment, sizeof reply.queue_segment, q.map->segment().name());
  set_text(reply.pool_segment, sizeof reply.pool_segment, q.pool->map->segment().name());
  return reply;
}

// A free endpoint. Messages that a former owner gave back may still lie in its held entries: a consumer gets the one
// with the most free entries, a producer, which needs none, the one with the fewest.
std::uint32_t BrokerCore::choose_endpoint(const QueueEntry& q, bool consumer) const {
  const auto count = static_cast<std::uint32_t>(q.endpoints.size());
  const std::uint32_t block = q.map->config().held_per_endpoint;
  std::uint32_t best = count;
  std::ptrdiff_t best_free = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (q.endpoints[i].client != 0) continue;
    const Held* const first = q.map->held() + std::size_t{i} * block;
    const auto free =
        std::count_if(first, first + block, [](const Held& h) { return h.word.load(std::memory_order_relaxed) == 0; });
    if (best == count || (consumer ? free > best_free : free < best_free)) {
      best = i;
      best_free = free;
    }
  }
  return best;
}

bool BrokerCore::choose_group(QueueEntry& q, const Request& request, unsigned& group, Reply& refusal) {
  const std::string name = get_text(request.group, sizeof request.group);
  check_name(name, "group");
  unsigned free = kMaxGroups;
  bool leaving = false;
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    GroupState& state = q.groups[g];
    if (state.leaving) {
      leaving = true;
      if (state.name != name) continue;
      refusal = refuse(Refusal::busy, "group '" + name + "': is being dissolved; try again");
      return false;
    }
    if (state.name == name) {
      group = g;
      return true;
    }
    if (state.name.empty() && free == kMaxGroups) free = g;
  }
  if (free == kMaxGroups) {
    refusal = refuse(leaving ? Refusal::busy : Refusal::usage, "group '" + name + "': queue '" + q.name + "' has " +
                                                                   std::to_string(kMaxGroups) +
                                                                   " groups already, the most that are possible");
    return false;
  }
  GroupState& state = q.groups[free];
  state = GroupState{};
  state.name = name;
  state.lossy = (request.flags & kLossy) != 0;
  auto& shared = q.map->control().group[free];
  set_text(shared.name, sizeof shared.name, name);
  shared.policy.store(state.lossy ? 1 : 0, std::memory_order_relaxed);
  state.joined_at = join_group(*q.map, free);
  state.damaged_before = q.map->control().damaged.load(std::memory_order_relaxed);
  group = free;
  return true;
}

void BrokerCore::end_stream(QueueEntry& q) {
  q.producers_lost = 0;
  q.had_producer = true;
  look_for_end(q);
}

void BrokerCore::look_for_end(QueueEntry& q) {
  if (!q.had_producer || q.producers != 0 || q.producers_lost != 0) return;
  auto& control = q.map->control();
  if (control.end_ticket.load(std::memory_order_relaxed) != kNoTicket) return;  // it has ended already
  control.end_count.fetch_add(1, std::memory_order_relaxed);
  // SYNC stream-end (release): the count before the ticket. Pairs with: is_at_end.
  control.end_ticket.store(q.map->ring().cursor(kProducers).next, std::memory_order_release);
  for (auto& bell : q.map->control().ready) ring_always(bell);
}

void BrokerCore::close_endpoint(QueueEntry& q, EndpointState& e, bool clean, bool alive) {
  const auto index = static_cast<std::uint32_t>(&e - q.endpoints.data());
  RepairReport report = repair_endpoint(*q.map, *q.pool->map, {.client = e.client,
                                                                .endpoint = index,
                                                                .kind = e.kind,
                                                                .uses_cuda = e.uses_cuda,
                                                                .alive = alive,
                                                                .mps = has_mps(q)});
  q.tombstones.insert(q.tombstones.end(), report.tombstones.begin(), report.tombstones.end());
  std::sort(q.tombstones.begin(), q.tombstones.end());
  Endpoint& shared = q.map->endpoint(index);
  const bool consumer = e.kind == EndpointKind::consumer;
  const unsigned group = e.group;
  if (consumer) {
    q.groups[group].lost += shared.damaged.load(std::memory_order_relaxed) + report.lost;
    q.groups[group].redelivered += shared.redelivered.load(std::memory_order_relaxed);
  }
  if (report.loans + report.tombstones.size() + report.orphans + report.finished + report.lost + report.unwritten != 0 ||
      report.quarantined != 0) {
    log(LogLevel::info,
        "queue '" + q.name + "': after " + (consumer ? "consumer" : "producer") + " of pid " + std::to_string(e.pid) +
            ": " + std::to_string(report.loans) + " slots freed, " + std::to_string(report.tombstones.size()) +
            " tombstones, " + std::to_string(report.orphans) + " messages given back, " +
            std::to_string(report.finished) + " steps finished, " + std::to_string(report.lost) + " lost, " + std::to_string(report.unwritten) +
            " never completed by its GPU, " + std::to_string(report.quarantined) + " slots quarantined");
  }
  shared.client.store(0, std::memory_order_release);
  e = EndpointState{};
  if (consumer) {
    remove_member(q, group);
    return;
  }
  --q.producers;
  if (!clean) ++q.producers_lost;
  look_for_end(q);
}

void BrokerCore::remove_member(QueueEntry& q, unsigned g) {
  GroupState& state = q.groups[g];
  if (--state.members != 0 || state.durable) return;
  state.leaving = true;
  state.left_at = leave_group(*q.map, g);
  leaving_ = true;  // finish_leaving() follows in serve()
}

bool BrokerCore::finish_leaving() {
  bool all = true;
  for (auto& [name, q] : queues_) {
    for (unsigned g = 0; g < kMaxGroups; ++g) {
      if (!q.groups[g].leaving) continue;
      if (drain_left_group(*q.map, *q.pool->map, g, q.groups[g].left_at)) {
        q.groups[g] = GroupState{};
      } else {
        all = false;
      }
    }
  }
  return all;
}

// Producers first: what a forwarder had not published must be undone before the message that it held is given back.
void BrokerCore::end_sessions(const std::vector<ClientState*>& sessions, bool clean) {
  for (const EndpointKind kind : {EndpointKind::producer, EndpointKind::consumer}) {
    for (auto& [name, q] : queues_) {
      for (auto& e : q.endpoints) {
        const bool ours = std::any_of(sessions.begin(), sessions.end(),
                                      [&](const ClientState* c) { return c->socket.get() == e.session; });
        if (e.client != 0 && e.kind == kind && ours) close_endpoint(q, e, clean, clean);
      }
    }
  }
}

// End of file alone proves nothing about the process: a child may have closed its copy, an exec may have dropped it.
void BrokerCore::lose_connection(ClientState& client) {
  if (!client.attached) return drop_client(client);  // has nothing of ours
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, client.socket.get(), nullptr);
  client.suspect = true;
}

// All sessions of the process end at once: a forward may go from one to another.
void BrokerCore::client_died(int pidfd) {
  const auto it = std::find_if(clients_.begin(), clients_.end(), [&](auto& c) { return c->pidfd.get() == pidfd; });
  if (it == clients_.end()) return;
  std::vector<ClientState*> sessions;
  for (const auto& c : clients_) {
    pollfd p{c->pidfd.get(), POLLIN, 0};
    if (c->attached && c->pid == (*it)->pid && ::poll(&p, 1, 0) == 1) sessions.push_back(c.get());
  }
  ++deaths_;
  log(LogLevel::warning, "client pid " + std::to_string((*it)->pid) + ": ended without detaching");
  end_sessions(sessions, false);
  for (ClientState* c : sessions) drop_client(*c);
}

void BrokerCore::drop_client(ClientState& client) {
  clients_.erase(std::find_if(clients_.begin(), clients_.end(), [&](const auto& c) { return c.get() == &client; }));
}

}  // namespace ipcq::detail
