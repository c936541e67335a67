#include "lists/list_chores.hpp"

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "program/logging.hpp"
#include "tasks/keys.hpp"

namespace ipcq::bridge {
namespace {

namespace log = ::ipcq::program::log;

constexpr std::string_view kAtOnce = "128";  // tasks that a script puts back

}  // namespace

ListChores::ListChores(const EngineSettings& settings, Counters& counters)
    : settings_(settings), counters_(counters), mover_(settings, counters) {}

void ListChores::attach(Connection& connection) {
  mover_.attach(connection);
  alive_.load(connection);
  recover_.load(connection);
  leave_.load(connection);
  rest_.load(connection);
}

Clock::time_point ListChores::run(Connection& connection, Clock::time_point now) {
  if (now >= next_sign_) say_alive(connection, now);
  if (now >= next_recovery_) {
    recover(connection);
    next_recovery_ = now + settings_.claim_after / 4;
  }
  if (is_moving() && now >= mover_.due()) {
    const bool delayed = mover_.run(connection, now);
    set_look(now, delayed || (settings_.until_dry && has_rest(connection)));
  }
  const auto next = std::min(next_sign_, next_recovery_);
  return is_moving() ? std::min(next, mover_.due()) : next;
}

void ListChores::leave(Connection& connection) {
  for (const auto& source : settings_.sources) {
    static_cast<void>(run_script(connection, leave_, {"1", source.name, settings_.consumer}));
  }
}

// Tasks that are not due, and those of others, who may have gone.
bool ListChores::has_rest(Connection& connection) const {
  for (const auto& source : settings_.sources) {
    const Reply reply = run_script(connection, rest_, {"1", source.name, kind_name(settings_.kind)});
    if (reply.view().is_error() || reply.view().number() > 0) return true;
  }
  return false;
}

void ListChores::say_alive(Connection& connection, Clock::time_point now) {
  for (const auto& source : settings_.sources) {
    static_cast<void>(run_script(connection, alive_, {"1", source.name, settings_.consumer}));
  }
  next_sign_ = now + std::min(settings_.claim_after / 4, settings_.is_named ? kSign : Milliseconds::max());
}

void ListChores::recover(Connection& connection) {
  const auto kind = kind_name(settings_.kind);
  const auto idle = std::to_string(settings_.claim_after.count()), too_many = std::to_string(settings_.attempts);
  const auto reason = fmt::format("taken {} times, and each time its bridge or host has gone", settings_.attempts);
  for (const auto& source : settings_.sources) {
    const auto dead = dead_key(source.name);
    for (bool more = true; more;) {
      const Reply reply = run_script(
          connection, recover_,
          {"2", source.name, dead, kind, settings_.consumer, idle, kAtOnce, too_many, reason, source.from, ""});
      const auto back = reply.view()[0].number(), buried = reply.view()[1].number();
      add(counters_.taken_over, static_cast<std::uint64_t>(back));
      add(counters_.read, static_cast<std::uint64_t>(buried));
      add(counters_.dead, static_cast<std::uint64_t>(buried));
      if (back > 0) log::info("'{}': put back {} tasks of consumers that have gone", source.name, back);
      if (buried > 0) log::warn("'{}': {} tasks went to '{}': {}", source.name, buried, dead, reason);
      more = back + buried > 0;
    }
  }
}

}  // namespace ipcq::bridge
