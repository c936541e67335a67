#include "tasks/meter.hpp"

#include <chrono>

#include "tasks/keys.hpp"
#include "tasks/mover.hpp"

namespace ipcq::bridge {
namespace {

constexpr Milliseconds kInterval{2000};

}  // namespace

void Meter::attach(Connection& connection) {
  if (settings_.measure) script_.load(connection);
}

Clock::time_point Meter::run(Connection& connection, Clock::time_point now) {
  if (!settings_.measure) return Clock::time_point::max();
  if (now < due_) return due_;
  for (const auto& source : settings_.sources) {
    const auto delayed = delayed_key(source.name), dead = dead_key(source.name);
    const Reply reply =
        run_script(connection, script_, {"3", source.name, delayed, dead, kind_name(settings_.kind), settings_.group});
    const auto said = reply.view();
    counters_.sizes.set(source.name, {.waiting = said[0].number(-1),
                                      .taken = said[1].number(-1),
                                      .delayed = said[2].number(-1),
                                      .dead = said[3].number(-1)});
  }
  return due_ = now + kInterval;
}

}  // namespace ipcq::bridge
