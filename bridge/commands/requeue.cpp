#include "commands/requeue.hpp"

#include <chrono>
#include <ipcq/error.hpp>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "program/exit_code.hpp"
#include "program/logging.hpp"
#include "program/print.hpp"
#include "program/program.hpp"
#include "redis/connection.hpp"
#include "redis/scripts.hpp"
#include "server_options.hpp"
#include "tasks/keys.hpp"

namespace ipcq::bridge {
namespace {

struct RequeueOptions {
  ServerOptions server;
  std::string stream;
  std::vector<std::string> ids;
  std::string most = "1000";
};

void describe(program::CommandLine& line, RequeueOptions& o) {
  line.add_option("STREAM", o.stream, "Stream whose dead letters are tried again")
      .required()
      .check(program::not_empty());
  line.add_option("ID...", o.ids, "Ids of these entries in STREAM:dead [the oldest]").check(program::not_empty());
  line.add_option("--most", o.most, "How many of the oldest")
      .transform(program::whole_number(1, 1'000'000))
      .show_default();
  describe_server(line, o.server);
}

int run(RequeueOptions& o, program::Signals& /*signals*/) {
  try {
    constexpr std::chrono::seconds kPatience{10};
    Connection connection(locate(address_of(o.server), kPatience), "ipcq-redis-requeue", kPatience);
    Script script("requeue");
    script.load(connection);
    const auto dead = dead_key(o.stream);
    const std::string most = o.ids.empty() ? o.most : "0";
    Command command{"EVALSHA", script.digest(), "2", dead, o.stream, most};
    command.insert(command.end(), o.ids.begin(), o.ids.end());
    const Reply reply = connection.call(command);
    if (reply.view().is_error()) {
      throw program::Failure(program::kFailure, fmt::format("'{}': {}", dead, reply.view().text()));
    }
    const auto moved = static_cast<std::size_t>(reply.view().number());
    program::print(fmt::format("{}\n", moved));
    if (moved < o.ids.size()) {
      program::log::warn("'{}' has {} of these {} dead letters", dead, moved, o.ids.size());
      return program::kNotFound;
    }
  } catch (const ConnectionLost& lost) {
    throw program::Failure(program::kFailure, lost.what());
  }
  return program::kOk;
}

}  // namespace

int requeue_command(int argc, char** argv) {
  return program::run_program<RequeueOptions>("ipcq-redis", "Puts dead letters back, and prints how many.", argc, argv,
                                              describe, run);
}

}  // namespace ipcq::bridge
