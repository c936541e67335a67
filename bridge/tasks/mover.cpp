#include "tasks/mover.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>

#include <fmt/format.h>

#include "program/logging.hpp"
#include "tasks/keys.hpp"

namespace ipcq::bridge {
namespace {

namespace log = ::ipcq::program::log;

constexpr std::size_t kAtOnce = 128;  // tasks that a script moves
constexpr Milliseconds kLongest{50};

}  // namespace

Reply run_script(Connection& connection, const Script& script, const Command& keys_and_arguments) {
  Command command{"EVALSHA", script.digest()};
  command.insert(command.end(), keys_and_arguments.begin(), keys_and_arguments.end());
  Reply reply = connection.call(command);
  if (reply.view().is_error()) warn_seldom(fmt::format("{}: {}", connection.address().text(), reply.view().text()));
  return reply;
}

// The same cause comes each time that the chores are due.
void warn_seldom(const std::string& text) {
  thread_local std::string last;
  thread_local Clock::time_point told{};
  const auto now = Clock::now();
  if (text == last && now - told < std::chrono::seconds(10)) return;
  log::warn("{}", text);
  last = text;
  told = now;
}

Mover::Mover(const EngineSettings& settings, Counters& counters)
    : settings_(settings),
      counters_(counters),
      script_(settings.kind == Kind::stream ? "move_to_stream" : "move_to_list") {}

bool Mover::run(Connection& connection, Clock::time_point now) {
  Milliseconds next = settings_.poll;
  bool any = false;
  const auto most = std::to_string(kAtOnce);
  for (const auto& source : settings_.sources) {
    // So many at once, and the rest when other chores that are due are done.
    const auto until = now + kLongest;
    for (bool more = true; more;) {
      const auto delayed = delayed_key(source.name), dead = dead_key(source.name);
      const Reply reply = run_script(
          connection, script_, {"3", delayed, source.name, dead, most, settings_.kind == Kind::list ? "list" : ""});
      const auto moved = reply.view()[0].number();
      const auto wait = reply.view()[1].number(-1);
      add(counters_.moved, static_cast<std::uint64_t>(moved));
      if (reply.view().is_error()) any = true;  // what is there is not known
      if (const auto why = reply.view()[3].text(); !why.empty()) warn_seldom(fmt::format("'{}': {}", delayed, why));
      if (const auto bad = reply.view()[2].number(); bad > 0) {
        log::warn("'{}' held {} members that are no task; they went to '{}'", delayed, bad, dead);
      }
      more = moved > 0 && wait == 0 && Clock::now() < until;
      any = any || moved > 0 || wait >= 0;
      if (wait >= 0) {
        next = std::min(next, std::max(Milliseconds(wait), Milliseconds(1)));
      }
    }
  }
  due_ = now + next;
  return any;
}

}  // namespace ipcq::bridge
