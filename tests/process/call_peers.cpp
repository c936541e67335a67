#include "process/call_peers.hpp"

#include <poll.h>
#include <unistd.h>

#include <map>
#include <utility>

#include "stamped.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;
using namespace std::chrono_literals;

constexpr std::size_t kShort = 40, kLong = 200;
constexpr unsigned kReplies = 3;  // of a call whose answer is streamed

std::size_t request_bytes(std::uint64_t sequence) { return sequence % 2 == 0 ? kShort : kLong; }
// 0: a short answer, 1: a long one, 2: several, 3: a failure.
unsigned answer_kind(std::uint64_t sequence) { return static_cast<unsigned>(sequence % 4); }

int code_of(Status status) { return 100 + static_cast<int>(status); }

bool is_told_to_end() {
  pollfd in{STDIN_FILENO, POLLIN, 0};
  return ::poll(&in, 1, 0) > 0;
}

unsigned answer_kind(const CallPeer& peer, std::uint64_t sequence) {
  return peer.by_handler || peer.in_lines ? 0 : answer_kind(sequence);
}

// Whether these bytes are an answer to this call.
bool is_mine(std::span<const std::byte> bytes, std::uint32_t id, std::uint64_t sequence) {
  const auto s = read_stamp(bytes);
  return s && s->producer == id && s->sequence == sequence;
}

Status answer(const CallPeer& peer, Request& r, const Stamp& s) {
  const Duration timeout = peer.timeout;
  switch (answer_kind(peer, s.sequence)) {
    case 0:
      return r.reply(stamped(s.producer, s.sequence, kShort), timeout);
    case 1:
      return r.reply(stamped(s.producer, s.sequence, kLong), timeout);
    case 2:
      for (unsigned i = 0; i + 1 < kReplies; ++i) {
        const Status sent = r.stream(stamped(s.producer, s.sequence, i % 2 == 0 ? kLong : kShort), timeout);
        if (sent != Status::ok) return sent;
      }
      return r.reply(stamped(s.producer, s.sequence, kShort), timeout);
    default:
      return r.fail(static_cast<std::uint32_t>(s.sequence), "as it was asked to", timeout);
  }
}

struct Pending {
  Call call;
  std::uint64_t sequence = 0;
  unsigned replies = 0;
};

// What receive() of a call said. True: the call is over.
bool is_over(Pending& p, const Result<Reply>& reply, const CallPeer& peer, const RecordWriter& log, int& rc) {
  const unsigned kind = answer_kind(peer, p.sequence);
  switch (reply.status()) {
    case Status::ok:
      if (!is_mine(reply->bytes(), peer.id, p.sequence)) rc = 90;
      ++p.replies;
      if (reply->has_more()) return rc != 0;
      if (p.replies != (kind == 2 ? kReplies : 1) || kind == 3) rc = 91;
      log.add(Event::received, p.sequence, peer.id);
      return true;
    case Status::failed:
      if (kind != 3 || p.call.failure_code() != p.sequence) rc = 92;
      log.add(Event::received, p.sequence, peer.id);
      return true;
    case Status::server_died:
      log.add(Event::lost, p.sequence, peer.id);
      return true;
    default:
      rc = code_of(reply.status());
      return true;
  }
}

}  // namespace

int run_caller(const CallPeer& peer, const RecordWriter& log) {
  auto session = connect({.broker = peer.broker, .wait_for = 10s});
  auto c = session.client(peer.queue, {.wait = peer.wait, .wait_for = 10s, .reply_bytes = peer.in_lines ? 0 : kLong});
  log.add(Event::ready);
  std::map<std::uint64_t, Pending> pending;
  for (std::uint64_t made = 0; made < peer.count || !pending.empty();) {
    while (made < peer.count && pending.size() < peer.window) {
      pause_if(peer.delay);
      auto call = c.request(stamped(peer.id, made, peer.in_lines ? kShort : request_bytes(made)), peer.timeout);
      if (call.status() == Status::full && !pending.empty()) break;  // until it has read what it has
      if (!call) {
        log.add(Event::stopped, static_cast<std::uint64_t>(call.status()));
        return code_of(call.status());
      }
      log.add(Event::sent, made, peer.id);
      const std::uint64_t sequence = made++;
      const std::uint64_t id = call->id();
      pending.emplace(id, Pending{std::move(*call), sequence, 0});
    }
    if (pending.empty()) continue;
    const auto id = c.wait_any(peer.timeout);
    if (!id) {
      log.add(Event::stopped, static_cast<std::uint64_t>(id.status()));
      return code_of(id.status());
    }
    const auto it = pending.find(*id);
    if (it == pending.end()) return 93;
    int rc = 0;
    if (is_over(it->second, it->second.call.poll(), peer, log, rc)) pending.erase(it);
    if (rc != 0) {
      log.add(Event::stopped, static_cast<std::uint64_t>(rc));
      return rc;
    }
  }
  return 0;
}

int run_server(const CallPeer& peer, const RecordWriter& log) {
  auto session = connect({.broker = peer.broker, .wait_for = 10s});
  auto s = session.server(peer.queue, {.wait = peer.wait, .wait_for = 10s});
  Client onward;
  if (!peer.onward.empty()) onward = session.client(peer.onward, {.wait = peer.wait, .wait_for = 10s});
  log.add(Event::ready);
  while (!is_told_to_end()) {
    auto r = s.receive(20ms);
    if (r.status() == Status::timeout) continue;
    if (!r) return code_of(r.status());
    const auto stamp = read_stamp(r->bytes());
    if (!stamp) return 90;
    log.add(Event::received, stamp->sequence, stamp->producer, r->redeliveries());
    pause_if(peer.delay);
    const Status answered = peer.onward.empty() ? answer(peer, *r, *stamp) : onward.forward(*r, peer.timeout);
    if (answered != Status::ok && answered != Status::cancelled) return code_of(answered);
  }
  return 0;
}

}  // namespace ipcq_test
