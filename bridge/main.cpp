// ipcq-redis: takes tasks out of Redis or Valkey, has a queue of calls work on them, and puts the results back.
#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "bridge.hpp"
#include "commands/commands.hpp"
#include "config_file.hpp"
#include "counters.hpp"
#include "kinds.hpp"
#include "metrics_server.hpp"
#include "options.hpp"
#include "program/exit_code.hpp"
#include "program/json.hpp"
#include "program/print.hpp"
#include "program/program.hpp"
#include "tasks/redis_engine.hpp"
#include "work.hpp"

namespace ipcq::bridge {
namespace {

namespace log = program::log;

constexpr const char* kPurpose =
    "Works on tasks from Redis or Valkey by a queue of calls, and returns their results. Other commands: `ipcq-redis "
    "add` "
    "adds tasks, `requeue` puts dead letters back, `doctor` examines a server; each has a --help.";

void report(const Counters& c, const Options& o, double seconds, double working) {
  log::info("queue '{}': {} tasks read, {} done, {} retried, {} dead, {} given back, {} ended elsewhere in {:.1f} s",
            o.queue, c.read.load(), c.done.load(), c.retried.load(), c.dead.load(), c.given_back.load(),
            c.ended_elsewhere.load(), seconds);
  if (!o.json) return;
  program::print_json(program::Json{{"queue", o.queue},
                                    {"read", c.read.load()},
                                    {"taken_over", c.taken_over.load()},
                                    {"done", c.done.load()},
                                    {"retried", c.retried.load()},
                                    {"dead", c.dead.load()},
                                    {"given_back", c.given_back.load()},
                                    {"ended_elsewhere", c.ended_elsewhere.load()},
                                    {"deleted", c.deleted.load()},
                                    {"replies_failed", c.unanswered.load()},
                                    {"write_errors", c.write_errors.load()},
                                    {"reconnects", c.reconnects.load()},
                                    {"broker_losses", c.broker_losses.load()},
                                    {"moved", c.moved.load()},
                                    {"trimmed", c.trimmed.load()},
                                    {"unfinished", c.unfinished.load()},
                                    {"seconds", seconds},
                                    {"working_seconds", working}});
}

int run(Options& o, program::Signals& signals) {
  const EngineSettings engine_options = engine_settings(o);
  const WorkSettings work_options = work_settings(o);
  Counters counters;
  std::optional<MetricsServer> metrics;
  if (o.metrics) {
    metrics.emplace(*o.metrics, counters, MetricsLabels{.queue = o.queue, .group = o.group});
    log::info("counters: {}", metrics->url());
  }
  Work work(work_options, counters);
  RedisEngine engine(engine_options, kinds_of(engine_options), counters,
                     Milliseconds(static_cast<std::int64_t>(o.wait_for * 1000)));
  std::atomic<int> stops{0};
  const auto subscription = signals.subscribe([&](int count) { stops = count; });
  log::info("queue '{}': working on {}, as '{}' of group '{}'", o.queue, source_names(engine_options, ", "),
            engine_options.consumer, engine_options.group);
  const auto begin = Clock::now();
  Bridge bridge(engine, work, counters, loop_settings(o));
  bridge.run(signals, stops);
  report(counters, o, std::chrono::duration<double>(Clock::now() - begin).count(), bridge.working_time().count());
  if (counters.unfinished.load() == 0) return program::kOk;
  log::warn("{} tasks were not finished; another bridge takes them over after its --claim-after",
            counters.unfinished.load());
  return program::kFailure;
}

}  // namespace
}  // namespace ipcq::bridge

int main(int argc, char** argv) {
  using namespace ipcq::bridge;
  namespace program = ipcq::program;
  if (argc > 1) {
    std::string name = std::string(argv[0]) + " " + argv[1];  // as --help shows it
    std::vector<char*> rest{name.data()};
    rest.insert(rest.end(), argv + 2, argv + argc);
    if (const int code = run_command(argv[1], static_cast<int>(rest.size()), rest.data()); code >= 0) return code;
  }
  std::vector<std::string> arguments(argv + 1, argv + argc);
  program::open_standard_descriptors();
  program::set_up_logging("ipcq-redis");
  return program::run_guarded([&] {
    if (const auto path = find_config(arguments)) arguments = with_config_file(arguments, *path);
    std::vector<char*> texts{argv[0]};
    for (auto& argument : arguments) texts.push_back(argument.data());
    return program::run_program<Options>("ipcq-redis", kPurpose, static_cast<int>(texts.size()), texts.data(), describe,
                                         run);
  });
}
