#include "work.hpp"

#include <algorithm>
#include <ipcq/admin.hpp>
#include <ipcq/error.hpp>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "program/attach.hpp"
#include "program/command_line.hpp"
#include "program/logging.hpp"

namespace ipcq::bridge {
namespace {

namespace log = ::ipcq::program::log;
using std::chrono::milliseconds;

constexpr milliseconds kPause{200};  // between attempts to attach
constexpr milliseconds kLook{1000};  // between looks at broker and servers

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::int64_t servers_of(const QueueStats& queue) {
  return std::count_if(queue.endpoints.begin(), queue.endpoints.end(),
                       [](const EndpointStats& each) { return each.role == "server"; });
}

}  // namespace

struct Work::Attached {
  program::Attachment attachment;
  Client client;
  std::string queue;
  bool has_handler = false;
};

Work::Work(WorkSettings settings, Counters& counters) : settings_(std::move(settings)), counters_(counters) {
  const auto deadline = Clock::now() + program::to_duration(settings_.wait_for);
  while (attached_ == nullptr) {
    try {
      attach(std::max<Duration>(deadline - Clock::now(), Duration::zero()));
    } catch (const UsageError&) {
      throw;
    } catch (const PermissionError&) {
      throw;
    } catch (const Error& error) {  // also of a broker that dies meanwhile
      if (Clock::now() + kPause > deadline) throw;
      log::debug("{}", error.what());
      std::this_thread::sleep_for(kPause);
    }
  }
}

Work::~Work() = default;

void Work::attach(Duration wait_for) {
  program::Attachment attachment(settings_.broker, wait_for);
  const QueueStats queue = attachment.stats(settings_.queue);
  if (queue.calls == 0) {
    throw UsageError(
        fmt::format("queue '{}' takes messages and no calls, whose answers a bridge needs; create one with "
                    "calls=NUMBER, and with a handler or servers of your own",
                    settings_.queue));
  }
  const bool has_handler = !queue.handler.empty();
  // A handler answers in the request's own place; servers may answer anything that has room in a slot.
  const std::size_t reply_bytes = settings_.reply_bytes != 0 || has_handler ? settings_.reply_bytes : queue.slot_bytes;
  Client client = attachment.client(
      settings_.queue, {.wait = parse_wait(settings_.wait), .reply_bytes = reply_bytes, .needs_server = !has_handler});
  counters_.servers = has_handler ? -1 : servers_of(queue);
  has_server_ = has_handler || counters_.servers > 0;
  if (!has_server_) tell_no_server();
  most_ = queue.calls;
  longest_ = client.max_bytes();
  if (settings_.in_flight != 0) most_ = std::min(most_, settings_.in_flight);
  try {
    fd_ = client.fd();
  } catch (const SystemError& error) {
    fd_ = -1;
    log::info("looking for answers every millisecond: {}", error.what());
  }
  attached_.reset(new Attached{std::move(attachment), std::move(client), settings_.queue, has_handler});
  counters_.attached = true;
}

std::size_t Work::room() const noexcept {
  if (attached_ == nullptr || !has_server_) return 0;
  return running_.size() >= most_ ? 0 : most_ - running_.size();
}

void Work::step() {
  const auto now = Clock::now();
  if (now < next_look_) return;
  next_look_ = now + (attached_ == nullptr ? kPause : kLook);
  if (attached_ != nullptr) return look();
  try {
    attach(Duration::zero());
    last_failure_.clear();
    log::info("attached to queue '{}' of broker '{}' again", settings_.queue, attached_->attachment.broker());
  } catch (const Error& error) {
    // That it is not there yet was said when it went.
    const bool is_new = std::exchange(last_failure_, error.what()) != error.what();
    if (is_new && dynamic_cast<const NotFoundError*>(&error) == nullptr) log::warn("{}", error.what());
  }
}

// A broker that dies while nothing runs tells nobody, and neither does a server that comes.
void Work::look() {
  if (running_.empty() && !attached_->attachment.session().connected()) {
    std::vector<Outcome> none;
    return lose(Status::peer_dead, none);
  }
  if (attached_->has_handler) return;
  try {
    const auto queue = attached_->attachment.stats_now(settings_.queue);
    counters_.servers = queue ? servers_of(*queue) : 0;
    if (counters_.servers == 0) return miss_server();
    if (!std::exchange(has_server_, true)) log::info("queue '{}': a server is attached", settings_.queue);
  } catch (const Error& error) {
    log::debug("{}", error.what());
  }
}

void Work::begin(std::deque<Task>& tasks, std::vector<Outcome>& outcomes) {
  const Timeout deadline = settings_.deadline > 0 ? program::to_duration(settings_.deadline) : kForever;
  while (attached_ != nullptr && !tasks.empty() && running_.size() < most_) {
    Task& task = tasks.front();
    auto call = attached_->client.request(task.payload, deadline, Duration::zero());
    const auto end = [&](Ending ending, std::string reason) {
      outcomes.push_back({.task = std::move(task), .ending = ending, .reason = std::move(reason)});
      tasks.pop_front();
    };
    switch (call.status()) {
      case Status::ok: {
        task.payload.clear();
        const std::uint64_t id = call->id();
        running_.emplace(id, Running{std::move(task), std::move(*call), {}});
        tasks.pop_front();
        break;
      }
      case Status::too_large:
        end(Ending::refused, fmt::format("its payload of {} bytes exceeds the {} of a message of queue '{}'",
                                         task.payload.size(), attached_->client.max_bytes(), settings_.queue));
        break;
      case Status::no_server:
        miss_server();
        end(Ending::given_back, fmt::format("queue '{}' had no server", settings_.queue));
        break;
      case Status::closed:
      case Status::peer_dead:
        lose(call.status(), outcomes);
        return;
      default:  // no room now
        return;
    }
  }
  counters_.running = running_.size();
}

void Work::collect(std::vector<Outcome>& outcomes) {
  while (attached_ != nullptr) {
    const auto id = attached_->client.wait_any(Duration::zero());
    if (!id) {
      if (id.status() == Status::closed || id.status() == Status::peer_dead) lose(id.status(), outcomes);
      break;
    }
    const auto found = running_.find(*id);
    if (found != running_.end() && receive(found->second, outcomes)) running_.erase(found);
  }
  counters_.running = running_.size();
}

bool Work::receive(Running& running, std::vector<Outcome>& outcomes) {
  const auto end = [&](Ending ending, std::string reason) {
    outcomes.push_back({.task = std::move(running.task),
                        .ending = ending,
                        .parts = ending == Ending::result ? std::move(running.parts) : std::vector<std::string>(),
                        .reason = std::move(reason)});
    return true;
  };
  for (;;) {
    auto reply = running.call.poll();
    switch (reply.status()) {
      case Status::ok:
        running.parts.push_back(text_of(reply->bytes()));
        if (!reply->has_more()) return end(Ending::result, {});
        break;
      case Status::end:
        return end(Ending::result, {});
      case Status::failed: {
        const std::string text(running.call.failure_text());
        return end(Ending::failed,
                   fmt::format("{} failed, code {}{}{}", attached_->has_handler ? "the handler" : "a server",
                               running.call.failure_code(), text.empty() ? "" : ": ", text));
      }
      case Status::server_died:
        return end(Ending::failed, "the server that worked on it has died");
      case Status::expired:
        return end(Ending::failed, fmt::format("it was not done within the {} s of --deadline", settings_.deadline));
      case Status::no_server:
        miss_server();
        return end(Ending::given_back, fmt::format("queue '{}' had no server", settings_.queue));
      default:  // nothing yet; or the broker is gone, which collect() is told
        return false;
    }
  }
}

void Work::tell_no_server() const {
  log::warn("queue '{}': no server is attached to answer its calls; nothing is read before there is one",
            settings_.queue);
}

// Tasks go back to Redis, for hosts that have servers.
void Work::miss_server() {
  counters_.servers = 0;
  if (!std::exchange(has_server_, false)) return;
  next_look_ = Clock::now() + kLook;
  tell_no_server();
}

void Work::lose(Status why, std::vector<Outcome>& outcomes) {
  add(counters_.broker_losses);
  counters_.attached = false;
  counters_.servers = -1;
  log::warn("queue '{}' of broker '{}': {}; attaching again, {} tasks go back", settings_.queue,
            attached_->attachment.broker(), why == Status::closed ? "it was removed or stopped" : "the broker has died",
            running_.size());
  for (auto& [id, running] : running_) {
    outcomes.push_back(
        {.task = std::move(running.task), .ending = Ending::given_back, .reason = "its broker has gone"});
  }
  running_.clear();
  attached_.reset();
  fd_ = -1;
  next_look_ = Clock::now() + kPause;
}

Clock::time_point Work::due() const noexcept {
  if (attached_ == nullptr || running_.empty()) return next_look_;
  // A deadline is not told of.
  return std::min(next_look_, Clock::now() + (fd_ < 0 ? milliseconds(1) : milliseconds(100)));
}

}  // namespace ipcq::bridge
