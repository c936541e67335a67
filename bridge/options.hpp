// The options of ipcq-redis, and the settings that they make.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bridge.hpp"
#include "server_options.hpp"
#include "settings.hpp"

namespace ipcq::program {
class CommandLine;
}

namespace ipcq::bridge {

struct Options {
  ServerOptions server;
  std::optional<std::string> consumer, results, metrics, config;
  std::vector<std::string> streams, lists, sorted_sets;
  std::string broker, queue, group = "ipcq", field = "payload", payload_template, inline_result = "64KiB",
                             wait = "hybrid", burst, in_flight, reply_bytes;
  std::uint64_t batch = 128, attempts = 5;
  double wait_for = 5, backoff = 1, longest_backoff = 60, claim_after = 30, poll = 0.25, stay = 3600, rate = 0,
         deadline = 0, keep = 0;
  std::optional<double> drain_for;
  bool trim = false, until_empty = false, json = false;
};

void describe(program::CommandLine& line, Options& options);

// All throw UsageError where the options contradict each other or say nothing that a bridge can do.
EngineSettings engine_settings(const Options& options);
WorkSettings work_settings(const Options& options);
LoopSettings loop_settings(const Options& options);

// NAME[,priority=NUMBER][,weight=NUMBER], of lists also [,from=left|right], of sorted sets [,take=least|due].
Source parse_source(std::string_view text, Kind kind);
// KIND:NAME or "none"
Results parse_results(std::string_view text);

}  // namespace ipcq::bridge
