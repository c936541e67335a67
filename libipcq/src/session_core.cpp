#include "session_core.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "consumer_core.hpp"
#include "ipcq/error.hpp"
#include "producer_core.hpp"
#include "step.hpp"
#include "thread.hpp"

namespace ipcq::detail {
namespace {

constexpr auto kRetryEvery = std::chrono::milliseconds(20);

}  // namespace

void throw_refusal(const Reply& reply) {
  const std::string text = get_text(reply.text, sizeof reply.text);
  switch (reply.refusal) {
    case Refusal::not_found:
      throw NotFoundError(text);
    case Refusal::permission:
      throw PermissionError(text);
    case Refusal::backend:
      throw BackendError(text);
    case Refusal::none:
    case Refusal::usage:
    case Refusal::busy:
      break;
  }
  throw UsageError(text);
}

namespace {

// False when whoever listens there has ended: a child of a dead broker's may keep its socket open. `c.process` is set.
bool has_listener(Connection& c) {
  c.process = process_behind(c.socket.get());
  if (!c.process) return errno != ESRCH;
  return !has_ended(c.process);
}

}  // namespace

Connection connect_to_broker(const std::string& broker, Duration wait_for) {
  const std::string path = socket_path_of(broker);
  const std::uint64_t deadline = deadline_after(wait_for);
  for (;;) {
    Connection c{connect_socket(path), {}};
    const int error = c.socket ? ECONNREFUSED : errno;
    if (c.socket && has_listener(c)) return c;
    const bool absent = error == ENOENT || error == ECONNREFUSED || error == EAGAIN || error == ENOTDIR;
    if (!absent) {
      throw_system(error, "connect", "broker '" + broker + "' (" + path + ")");
    }
    if (deadline == 0 || now_ns() >= deadline) {
      throw NotFoundError("broker '" + broker + "': none answers at " + path + "; start one (ipcq-broker --name " +
                          broker +
                          " --queue ...) or set IPCQ_BROKER; if one runs, does it have this user "
                          "and XDG_RUNTIME_DIR? (`ipcq list`; else name it by its socket's path)");
    }
    std::this_thread::sleep_for(kRetryEvery);
  }
}

SessionCore::SessionCore(const ConnectOptions& options)
    : broker_(broker_name_or_default(options.broker)), path_(socket_path_of(broker_)), log_(options.log) {
  broker_end_ = connect_to_broker(broker_, options.wait_for);  // the answer to `hello` proves that its pidfd is right
  stop_ = make_eventfd();
  const Fd self = open_pidfd(getpid());
  if (!self) throw_system(errno, "pidfd_open", "this process");
  Request hello;
  hello.op = Op::hello;
  const Reply reply = exchange(hello, self.get());
  if (reply.refusal != Refusal::none) throw_refusal(reply);
  if (!sleeper_fence()) {
    log(LogLevel::warning,
        "membarrier is refused here: a call that sleeps until a message comes looks by itself each millisecond, which "
        "costs CPU time; let the seccomp profile allow membarrier (`ipcq doctor` tries it)");
  }
  require_thread(watcher_, "session with broker '" + broker_ + "'", [this] { watch(); });
}

SessionCore::~SessionCore() {
  if (is_forked_child()) {
    forget_thread(watcher_);
    return;
  }
  retired_.clear();
  maps_.drop_kept();
  if (connected()) {
    Request bye;
    bye.op = Op::bye;
    try {
      (void)request(bye);
    } catch (const Error&) {  // the broker went away: it has no use for a farewell
    }
  }
  signal_eventfd(stop_.get());
  watcher_.join();
}

void SessionCore::throw_lost() const {
  throw SystemError(ECONNRESET,
                    "broker '" + broker_ + "' (" + path_ + "): closed the connection; connect again to its successor");
}

Reply SessionCore::exchange(Request request, int fd) {
  request.serial = ++serial_;
  if (!send_message(broker_end_.socket.get(), &request, sizeof request, fd)) throw_lost();
  std::vector<std::uint32_t> strays;  // endpoints that nobody waits for any more
  for (;;) {
    Fd unused;
    const Reply reply = receive_reply(broker_end_, broker_, unused);
    if (reply.serial != request.serial) {  // the late answer to a request that timed out
      if (reply.client != 0) strays.push_back(reply.client);
      continue;
    }
    for (const std::uint32_t client : strays) {
      Request close;
      close.op = Op::close_endpoint;
      close.client = client;
      (void)exchange(close, -1);
    }
    return reply;
  }
}

Reply SessionCore::request(const Request& request) {
  if (is_forked_child()) {
    throw UsageError("session with broker '" + broker_ + "': used after fork; connect anew in the child");
  }
  const std::scoped_lock lock(requests_);
  if (!connected()) throw_lost();
  return exchange(request, -1);
}

Attachment SessionCore::attach(Request request, Duration wait_for) {
  const std::uint64_t deadline = deadline_after(wait_for);
  const std::uint64_t busy_until = deadline_after(std::chrono::seconds(1));
  std::string missing;  // a segment that the broker named and that was not there
  for (;;) {
    const Reply reply = this->request(request);
    if (reply.refusal == Refusal::none) {
      IPCQ_STEP("attach.answered");
      // Whatever fails from here on, the endpoint that the broker gave out is closed again.
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
          throw LayoutError("queue '" + get_text(request.name, sizeof request.name) +
                            "': its segments and the broker's answer contradict each other; restart the broker");
        }
        if (request.op == Op::open_consumer && reply.durable == 0) {
          log(LogLevel::info, "group '" + get_text(request.group, sizeof request.group) +
                                  "' is not declared: ephemeral, starts at the newest message");
        }
        return a;
      } catch (const NotFoundError&) {
        detach(reply.client, kNeverUsed);
        // The queue ended after the answer, as its runner did, and the endpoint with it: may come again, by another
        // segment's name. The broker tells.
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
    if (!may_come || interrupted_.load(std::memory_order_relaxed)) throw_refusal(reply);
    // A group that is being dissolved is gone in a moment, whatever the caller's patience for absent queues; unless a
    // producer that is stopped holds it up.
    const std::uint64_t until = reply.refusal == Refusal::busy ? std::max(deadline, busy_until) : deadline;
    if (until == 0 || now_ns() >= until) throw_refusal(reply);
    std::this_thread::sleep_for(reply.refusal == Refusal::busy ? std::chrono::milliseconds(1) : kRetryEvery);
  }
}

void SessionCore::detach(std::uint32_t client, std::uint32_t flags) noexcept {
  if (is_forked_child()) return;
  Request r;
  r.op = Op::close_endpoint;
  r.client = client;
  r.flags = flags;
  try {
    if (connected()) (void)request(r);
  } catch (const std::exception&) {  // the broker went away, or notices at the latest when this process ends
  }
  maps_.detach(client);
}

void SessionCore::retire(std::shared_ptr<void> core) {
  const std::scoped_lock lock(retiring_);
  retired_.push_back(std::move(core));
}

void SessionCore::keep_with(const void* map, std::shared_ptr<void> what) { maps_.keep_with(map, std::move(what)); }

void SessionCore::log(LogLevel level, const std::string& text) const {
  if (log_) log_(level, text);
}

void SessionCore::interrupt() noexcept {
  interrupted_.store(true, std::memory_order_release);
  maps_.ring_all();
}

// The kernel tells at once when the broker ends, or its end of the connection closes: no heartbeat, no time-out, no
// wake-up while all is well.
void SessionCore::watch() noexcept {
  for (;;) {
    pollfd p[3] = {
        {broker_end_.socket.get(), POLLRDHUP, 0}, {stop_.get(), POLLIN, 0}, {broker_end_.process.get(), POLLIN, 0}};
    if (::poll(p, 3, -1) < 0) continue;  // EINTR: all signals are blocked, but a debugger may cause one
    if (p[1].revents != 0) return;
    if (p[0].revents != 0 || p[2].revents != 0) {
      disconnected_.store(true, std::memory_order_release);
      maps_.ring_all();
      return;
    }
  }
}

}  // namespace ipcq::detail

namespace ipcq {

Session connect(ConnectOptions options) { return Session(std::make_shared<detail::SessionCore>(options)); }

Session::Session() noexcept = default;
Session::Session(std::shared_ptr<detail::SessionCore> core) noexcept : core_(std::move(core)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&& other) noexcept {
  if (this != &other) {
    const Session before(std::move(*this));
    core_ = std::move(other.core_);
  }
  return *this;
}
Session::~Session() {
  if (core_ && core_->is_forked_child()) detail::keep_for_ever(std::move(core_));
}

void Session::interrupt() noexcept {
  if (core_) core_->interrupt();
}
void Session::resume() noexcept {
  if (core_) core_->resume();
}
bool Session::connected() const noexcept { return core_ && core_->connected(); }

detail::SessionCore& Session::core(const std::string& queue) const {
  if (!core_) throw UsageError("queue '" + queue + "': this session is not connected; assign one of ipcq::connect()");
  return *core_;
}

Producer Session::producer(const std::string& queue, ProducerOptions options) {
  detail::check_name(queue, "queue");
  detail::Request r;
  r.op = detail::Op::open_producer;
  r.flags = options.cuda ? std::uint32_t{detail::kUsesCuda} : 0;
  detail::set_text(r.name, sizeof r.name, queue);
  const auto attachment = core(queue).attach(r, options.wait_for);
  return Producer(std::make_unique<detail::ProducerCore>(core_, attachment, options.wait));
}

Consumer Session::consumer(const std::string& queue, ConsumerOptions options) {
  detail::check_name(queue, "queue");
  detail::check_name(options.group, "group");
  detail::Request r;
  r.op = detail::Op::open_consumer;
  r.flags = (options.lossy ? std::uint32_t{detail::kLossy} : 0) | (options.cuda ? std::uint32_t{detail::kUsesCuda} : 0);
  detail::set_text(r.name, sizeof r.name, queue);
  detail::set_text(r.group, sizeof r.group, options.group);
  const auto attachment = core(queue).attach(r, options.wait_for);
  return Consumer(std::make_unique<detail::ConsumerCore>(core_, attachment, options));
}

}  // namespace ipcq
