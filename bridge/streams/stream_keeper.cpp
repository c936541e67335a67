#include "streams/stream_keeper.hpp"

#include <algorithm>
#include <exception>

#include <fmt/format.h>

#include "program/logging.hpp"
#include "streams/entry.hpp"

namespace ipcq::bridge {
namespace {

namespace log = ::ipcq::program::log;
using std::chrono::milliseconds;

constexpr std::size_t kAtOnce = 128;  // ids or tasks that a script works on
constexpr milliseconds kTrim{5000};
constexpr milliseconds kPause{500};  // before another connection

}  // namespace

StreamKeeper::StreamKeeper(const EngineSettings& settings, Counters& counters, const HeldTasks& held)
    : settings_(settings),
      counters_(counters),
      held_(held),
      address_(settings.address),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

void StreamKeeper::move_to(const Address& address) {
  const std::scoped_lock lock(mutex_);
  address_ = address;
}

void StreamKeeper::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    milliseconds pause = kPause;
    try {
      if (connection_ == nullptr) connect();
      const auto now = Clock::now();
      if (now >= next_renewal_) renew(now);
      if (moving_ && now >= next_move_) move();
      if (settings_.trim && now >= next_trim_) trim();
      const auto next = std::min(next_renewal_, moving_ ? next_move_ : next_renewal_);
      pause = std::clamp(std::chrono::ceil<milliseconds>(next - Clock::now()), milliseconds(1), milliseconds(1000));
    } catch (const Moved& moved) {
      move_to(moved.to());
      connection_.reset();
    } catch (const std::exception& error) {
      log::debug("keeper of tasks: {}", error.what());
      connection_.reset();
    }
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, pause, [] { return false; });
  }
}

void StreamKeeper::connect() {
  Address address;
  {
    const std::scoped_lock lock(mutex_);
    address = address_;
  }
  auto connection = std::make_unique<Connection>(address, "ipcq-redis keeper", settings_.patience);
  for (Script* script : {&renew_, &move_, &trim_}) script->load(*connection);
  connection_ = std::move(connection);
}

Reply StreamKeeper::run_script(const Script& script, const Command& keys_and_arguments) {
  Command command{"EVALSHA", script.digest()};
  command.insert(command.end(), keys_and_arguments.begin(), keys_and_arguments.end());
  Reply reply = connection_->call(command);
  if (reply.view().is_error()) log::warn("{}: {}", connection_->address().text(), reply.view().text());
  return reply;
}

// What is as young as that has been read, or taken over, since the last renewal and is not in danger.
void StreamKeeper::renew(Clock::time_point now) {
  const auto interval = settings_.claim_after / 4;
  for (std::size_t source = 0; source < settings_.sources.size(); ++source) {
    const auto ids = held_.since_before(source, now - interval);
    for (std::size_t at = 0; at < ids.size(); at += kAtOnce) {
      Command command{"1", settings_.sources[source].name, settings_.group, settings_.consumer};
      const auto end = std::min(ids.size(), at + kAtOnce);
      command.insert(command.end(), ids.begin() + static_cast<std::ptrdiff_t>(at),
                     ids.begin() + static_cast<std::ptrdiff_t>(end));
      const Reply reply = run_script(renew_, command);
      const auto renewed = reply.view().number();
      if (!reply.view().is_error() && renewed < static_cast<std::int64_t>(end - at)) {
        log::debug("stream '{}': {} tasks are no longer this bridge's", settings_.sources[source].name,
                   static_cast<std::int64_t>(end - at) - renewed);
      }
    }
  }
  next_renewal_ = now + interval;
}

void StreamKeeper::move() {
  milliseconds next = settings_.poll;
  bool any = false;
  for (const auto& source : settings_.sources) {
    for (bool more = true; more && moving_;) {
      const auto most = std::to_string(kAtOnce);
      const Reply reply = run_script(move_, {"3", delayed_key(source.name), source.name, dead_key(source.name), most});
      const auto moved = reply.view()[0].number();
      const auto wait = reply.view()[1].number(-1);
      add(counters_.moved, static_cast<std::uint64_t>(moved));
      if (const auto bad = reply.view()[2].number(); bad > 0) {
        log::warn("'{}' held {} members that are no task; they went to '{}'", delayed_key(source.name), bad,
                  dead_key(source.name));
      }
      more = moved > 0 && wait == 0;
      if (wait >= 0) {
        any = true;
        next = std::min(next, std::max(milliseconds(wait), milliseconds(1)));
      }
    }
  }
  delayed_ = any;
  next_move_ = Clock::now() + next;
}

void StreamKeeper::trim() {
  for (const auto& source : settings_.sources) {
    const auto keep = std::to_string(settings_.keep.count());
    const Reply reply = run_script(trim_, {"1", source.name, keep});
    add(counters_.trimmed, static_cast<std::uint64_t>(std::max<std::int64_t>(0, reply.view().number())));
  }
  next_trim_ = Clock::now() + kTrim;
}

}  // namespace ipcq::bridge
