#include "streams/stream_chores.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "program/logging.hpp"

namespace ipcq::bridge {
namespace {

namespace log = ::ipcq::program::log;

constexpr std::size_t kAtOnce = 128;  // ids that a script works on
constexpr Milliseconds kTrim{5000};
constexpr std::chrono::minutes kForget{10};  // between looks for consumers that have gone
constexpr std::string_view kLastId =
    "18446744073709551615-0";                  // with the largest number behind it, servers take it for >
constexpr std::string_view kLong = "3600000";  // ms; one that lives and is forgotten is made anew by its next question

}  // namespace

StreamChores::StreamChores(const EngineSettings& settings, Counters& counters, const HeldTasks& held)
    : settings_(settings), counters_(counters), held_(held), mover_(settings, counters) {}

void StreamChores::attach(Connection& connection) {
  mover_.attach(connection);
  renew_.load(connection);
  trim_.load(connection);
  forget_.load(connection);
}

Clock::time_point StreamChores::run(Connection& connection, Clock::time_point now) {
  if (settings_.is_named && now >= next_sign_) sign(connection, now);
  if (now >= next_renewal_) renew(connection, now);
  if (is_moving() && now >= mover_.due()) {
    const bool delayed = mover_.run(connection, now);
    set_look(now, delayed || (settings_.until_dry && has_pending(connection)));
  }
  if (settings_.trim && now >= next_trim_) trim(connection, now);
  if (now >= next_forgetting_) {
    forget_consumers(connection, "");
    next_forgetting_ = now + kForget;
  }
  const auto next = settings_.is_named ? std::min(next_sign_, next_renewal_) : next_renewal_;
  return is_moving() ? std::min(next, mover_.due()) : next;
}

// Asks for what it was given behind all ids that there are: the server notes that the consumer was there. One
// that is full reads nothing else; and one that was given nothing yet need not be known.
void StreamChores::sign(Connection& connection, Clock::time_point now) {
  for (const auto& source : settings_.sources) {
    static_cast<void>(connection.call({"XGROUP", "CREATECONSUMER", source.name, settings_.group, settings_.consumer}));
    static_cast<void>(connection.call(
        {"XREADGROUP", "GROUP", settings_.group, settings_.consumer, "COUNT", "1", "STREAMS", source.name, kLastId}));
  }
  next_sign_ = now + kSign;
}

// What is younger has been read, or taken over, since the last renewal and is not in danger.
void StreamChores::renew(Connection& connection, Clock::time_point now) {
  const auto interval = settings_.claim_after / 4;
  for (std::size_t source = 0; source < settings_.sources.size(); ++source) {
    const auto ids = held_.since_before(source, now - interval);
    for (std::size_t at = 0; at < ids.size(); at += kAtOnce) {
      Command command{"1", settings_.sources[source].name, settings_.group, settings_.consumer};
      const auto end = std::min(ids.size(), at + kAtOnce);
      command.insert(command.end(), ids.begin() + static_cast<std::ptrdiff_t>(at),
                     ids.begin() + static_cast<std::ptrdiff_t>(end));
      const Reply reply = run_script(connection, renew_, command);
      const auto missing = static_cast<std::int64_t>(end - at) - reply.view().number();
      if (!reply.view().is_error() && missing > 0) {
        log::debug("stream '{}': {} tasks are no longer this bridge's", settings_.sources[source].name, missing);
      }
    }
  }
  next_renewal_ = now + interval;
}

// Each bridge has a name of its own, and a group would know all that there ever were.
void StreamChores::forget_consumers(Connection& connection, const std::string& leaving) {
  for (const auto& source : settings_.sources) {
    static_cast<void>(run_script(connection, forget_, {"1", source.name, settings_.group, leaving, kLong}));
  }
}

// Tasks of others, who may have gone: nothing is done while they are there.
bool StreamChores::has_pending(Connection& connection) const {
  for (const auto& source : settings_.sources) {
    const Reply reply = connection.call({"XPENDING", source.name, settings_.group});
    if (reply.view().is_error() || reply.view()[0].number() > 0) return true;
  }
  return false;
}

void StreamChores::trim(Connection& connection, Clock::time_point now) {
  const auto keep = std::to_string(settings_.keep.count());
  for (const auto& source : settings_.sources) {
    // The server deletes so many entries at once; renewals come between.
    for (std::int64_t deleted = 1; deleted > 0 && Clock::now() < next_renewal_;) {
      const Reply reply = run_script(connection, trim_, {"1", source.name, keep});
      deleted = reply.view().number();
      add(counters_.trimmed, static_cast<std::uint64_t>(std::max<std::int64_t>(0, deleted)));
    }
  }
  next_trim_ = now + kTrim;
}

}  // namespace ipcq::bridge
