#include "client/session_core.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "base/crash_point.hpp"
#include "base/thread.hpp"
#include "ipcq/error.hpp"
#include "ipcq/schema.hpp"

namespace ipcq::detail {
namespace {

constexpr auto kAskAgainEvery = std::chrono::milliseconds(20);

// Throws UsageError where no message has room for a value that the endpoint is to send, or no reply for what comes.
void check_room(const std::string& queue, const Attachment& a, const SchemaClaim& claim) {
  const std::size_t slot_bytes = a.pool->config().slots != 0 ? a.pool->config().slot_bytes : 0;
  const auto check = [&](const std::string& schema, std::size_t in_line, const char* what, std::size_t beside) {
    const std::size_t needs = schema.empty() ? 0 : Schema::parse(schema).bytes();
    const std::size_t room = std::max({slot_bytes, in_line, beside});
    if (needs <= room) return;
    throw UsageError("queue '" + queue + "': its " + what + " have " + std::to_string(room) +
                     " bytes at most, and a '" + schema + "' has " + std::to_string(needs) +
                     "; create it with larger slots (size), or without slots with longer lines (line)");
  };
  const std::uint32_t inline_bytes = a.queue->config().inline_bytes;
  check(claim.sent, inline_bytes, "messages", metadata_for_values(*a.queue, *a.pool));
  check(claim.received, answer_bytes(inline_bytes), "replies", 0);
}

[[noreturn]] void throw_contradiction(const std::string& queue) {
  throw LayoutError("queue '" + queue +
                    "': its segments and the broker's answer contradict each other; restart the broker");
}

}  // namespace

SessionCore::SessionCore(const ConnectOptions& options)
    : broker_(broker_name_or_default(options.broker)),
      path_(socket_path_of(broker_)),
      log_(options.log),
      channel_(broker_) {
  Request hello;
  hello.op = Op::hello;
  Deadline deadline(options.wait_for);
  Introduction made = introduce(broker_, hello, deadline);  // the answer proves that the broker's pidfd is right
  if (made.reply.refusal != Refusal::none) throw_refusal(made.reply);
  channel_.begin(std::move(made.connection));
  if (!sleeper_fence()) {
    log(LogLevel::warning,
        "membarrier is refused here: a call that sleeps until a message comes looks by itself each millisecond, which "
        "costs CPU time; let the seccomp profile allow membarrier (`ipcq doctor` tries it)");
  }
  require_thread(poll_thread_, "session with broker '" + broker_ + "'", [this] { poll_broker(); });
}

SessionCore::~SessionCore() {
  if (is_forked_child()) {
    forget_thread(poll_thread_);
    return;
  }
  retired_.clear();
  maps_.drop_kept();
  if (connected()) {
    Request bye;
    bye.op = Op::bye;
    channel_.tell(bye);
  }
  stopping_.store(true, std::memory_order_release);
  signal_eventfd(channel_.wake());
  poll_thread_.join();
}

void SessionCore::throw_lost() const {
  throw SystemError(ECONNRESET,
                    "broker '" + broker_ + "' (" + path_ + "): closed the connection; connect again to its successor");
}

Reply SessionCore::request(const Request& request, const std::string& behind, std::string& refusal) {
  if (is_forked_child()) {
    throw UsageError("session with broker '" + broker_ + "': used after fork; connect anew in the child");
  }
  if (!connected()) throw_lost();
  return channel_.ask(request, behind, refusal);
}

Attachment SessionCore::attach(Request request, const SchemaClaim& claim, Deadline& deadline) {
  deadline.start();
  const std::string behind = put_claim(request, claim);
  std::string refusal;
  const std::uint64_t busy_until = deadline_after(std::chrono::seconds(1));
  std::string missing;  // a segment that the broker named and that does not exist
  for (;;) {
    const Reply reply = this->request(request, behind, refusal);
    if (reply.refusal == Refusal::none) {
      IPCQ_CRASH_POINT("attach.answered");
      // If anything fails from here on, the endpoint that the broker has opened is closed again.
      try {
        Attachment a;
        a.queue = maps_.queue(get_text(reply.queue_segment, sizeof reply.queue_segment));
        a.pool = maps_.pool(get_text(reply.pool_segment, sizeof reply.pool_segment));
        maps_.attach(reply.client, *a.queue, *a.pool);
        a.client = reply.client;
        a.endpoint = reply.endpoint;
        a.group = reply.group;
        a.uses_cuda = (request.flags & kUsesCuda) != 0;
        const auto& config = a.queue->config();
        if (config.segment.generation != reply.generation || a.endpoint >= config.endpoints || a.group >= kMaxGroups ||
            config.pool_generation != a.pool->config().segment.generation) {
          throw_contradiction(get_text(request.name, sizeof request.name));
        }
        if (request.op == Op::open_producer) check_room(get_text(request.name, sizeof request.name), a, claim);
        if (request.op == Op::open_consumer && reply.durable == 0) {
          log(LogLevel::info, "group '" + get_text(request.group, sizeof request.group) +
                                  "' is not declared: ephemeral, starts at the newest message");
        }
        return a;
      } catch (const NotFoundError&) {
        detach(reply.client, kNeverUsed);
        // The queue, and the endpoint, may have ended with their runner after the answer. The broker creates such a
        // queue anew with a segment of another name, so ask again.
        const std::string segment = get_text(reply.queue_segment, sizeof reply.queue_segment);
        if (segment == missing) {
          throw NotFoundError("queue '" + get_text(request.name, sizeof request.name) + "': broker '" + broker_ +
                              "' has it, but its segments (" + segment +
                              ") do not exist here: the broker runs where /dev/shm is another one (containers must "
                              "share it), or somebody removed them");
        }
        missing = segment;
        continue;
      } catch (...) {
        detach(reply.client, kNeverUsed);
        throw;
      }
    }
    const bool may_come = reply.refusal == Refusal::not_found || reply.refusal == Refusal::busy;
    if (!may_come || interrupted_.load(std::memory_order_relaxed)) throw_refusal(reply, refusal);
    // A group that is being dissolved is soon gone, unless a stopped producer delays that: worth up to a second even to
    // a caller that does not wait for queues.
    const std::uint64_t until =
        reply.refusal == Refusal::busy ? std::max(deadline.at_ns(), busy_until) : deadline.at_ns();
    if (until == 0 || now_ns() >= until) throw_refusal(reply, refusal);
    std::this_thread::sleep_for(reply.refusal == Refusal::busy ? std::chrono::milliseconds(1) : kAskAgainEvery);
  }
}

CallHome SessionCore::find_home(std::uint64_t generation) {
  Request asks;
  asks.op = Op::find_home;
  set_text(asks.name, sizeof asks.name, std::to_string(generation));
  std::string refusal;
  const Reply reply = request(asks, {}, refusal);
  if (reply.refusal != Refusal::none) throw_refusal(reply, refusal);
  CallHome home;
  home.queue = maps_.queue(get_text(reply.queue_segment, sizeof reply.queue_segment));
  home.pool = maps_.pool(get_text(reply.pool_segment, sizeof reply.pool_segment));
  const auto& config = home.queue->config();
  if (config.segment.generation != generation || config.pool_generation != home.pool->config().segment.generation) {
    throw_contradiction(get_text(config.segment.name, kNameBytes));
  }
  return home;
}

void SessionCore::detach(std::uint32_t client, std::uint32_t flags) noexcept {
  if (is_forked_child()) return;
  Request r;
  r.op = Op::close_endpoint;
  r.client = client;
  r.flags = flags;
  if (connected()) channel_.tell(r);
  maps_.detach(client);
}

void SessionCore::retire(std::shared_ptr<void> core) {
  const std::scoped_lock lock(retiring_);
  retired_.push_back(std::move(core));
}

void SessionCore::keep_with(const void* map, std::shared_ptr<void> what) { maps_.keep_with(map, std::move(what)); }

void SessionCore::log(LogLevel level, const std::string& text) const { log_.add(level, text); }

void SessionCore::interrupt() noexcept {
  interrupted_.store(true, std::memory_order_release);
  maps_.ring_all();
}

// Sleeps until the broker's process or the connection ends, which the kernel reports at once: no heartbeat, no
// time-out, no periodic wake-up.
void SessionCore::poll_broker() noexcept {
  const Connection& broker = channel_.connection();
  for (;;) {
    const bool late = channel_.awaits_late_answers();
    pollfd p[3] = {{broker.socket.get(), static_cast<short>(late ? POLLRDHUP | POLLIN : POLLRDHUP), 0},
                   {channel_.wake(), POLLIN, 0},
                   {broker.process.get(), POLLIN, 0}};
    if (::poll(p, 3, -1) < 0) continue;  // EINTR: all signals are blocked, but a debugger may cause one
    if (p[1].revents != 0) drain_eventfd(channel_.wake());
    if (stopping_.load(std::memory_order_acquire)) return;
    if ((p[0].revents & ~POLLIN) != 0 || p[2].revents != 0) {
      disconnected_.store(true, std::memory_order_release);
      maps_.ring_all();
      return;
    }
    if (p[0].revents != 0) channel_.take_late_answers();
  }
}

}  // namespace ipcq::detail
