// ipcq: shows brokers, changes their queues, cleans up after dead brokers, checks the machine.
#include <unistd.h>

#include <chrono>
#include <ipcq/admin.hpp>
#include <ipcq/error.hpp>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "doctor.hpp"
#include "handler.hpp"
#include "housekeeping.hpp"
#include "lifecycle.hpp"
#include "program/attach.hpp"
#include "program/command_line.hpp"
#include "program/exit_code.hpp"
#include "program/inherited_descriptors.hpp"
#include "program/logging.hpp"
#include "program/print.hpp"
#include "program/printable.hpp"
#include "program/run_guarded.hpp"
#include "program/signals.hpp"
#include "program/stats_report.hpp"

namespace ipcq::program {
namespace {

struct Options {
  std::string broker, queue, executor, action, file;
  std::optional<std::string> redis;
  double wait_for = 0, watch = 0;
  bool json = false, dry_run = false;
};

// False when the reader of standard output has closed it.
bool print_stats(const Options& o) {
  BrokerStats stats = fetch_stats(o.broker, to_duration(o.wait_for));
  if (!o.queue.empty()) {
    std::erase_if(stats.queues, [&](const QueueStats& queue) { return queue.name != o.queue; });
    if (stats.queues.empty()) {
      throw NotFoundError(
          fmt::format("broker '{}' has no queue '{}'; `ipcq stats` shows those it has", stats.name, o.queue));
    }
  }
  if (o.json) return print_json(to_json(stats));
  const bool clear = o.watch > 0 && isatty(STDOUT_FILENO) == 1;
  return print((clear ? "\033[H\033[J" : "") + to_text(stats));
}

int stats_command(const Options& o, Signals& signals) {
  if (!print_stats(o) || o.watch <= 0) return kOk;
  const auto subscription = signals.subscribe([](int) {});
  const auto step = to_duration(o.watch);
  for (auto due = std::chrono::steady_clock::now() + step; !signals.wait_until(due); due += step) {
    if (!print_stats(o)) break;
  }
  return kOk;
}

int dump_command(const Options& o) {
  const auto text = fetch_dump(o.queue, o.broker);
  if (o.json) {
    print_json(Json{{"queue", o.queue}, {"dump", text}});
  } else {
    print(printable(text, "\n"));
  }
  return kOk;
}

void add_queue_name(CommandLine& command, Options& o) {
  command.add_option("QUEUE", o.queue, "Queue").required().check(object_name());
}

CommandLine add_executor(CommandLine& line, Options& o) {
  auto executor =
      line.add_command("executor", "Switch a queue on a GPU to another executor, at one place in its order");
  add_broker_option(executor, o.broker);
  add_queue_name(executor, o);
  executor.add_option("KIND", o.executor, "persistent: lowest latency; stream: nothing spins on the GPU")
      .required()
      .check(one_of({"persistent", "stream"}));
  return executor;
}

CommandLine add_state(CommandLine& line, Options& o) {
  auto state = line.add_command("state", "Save or load the state of a queue's handler, at one place in its order");
  add_broker_option(state, o.broker);
  add_queue_name(state, o);
  state.add_option("ACTION", o.action, "save: to a new file; load: what FILE lacks becomes zero")
      .required()
      .check(one_of({"load", "save"}));
  state.add_option("FILE", o.file, "File of this user, of at most the state's size").required().check(not_empty());
  return state;
}

CommandLine add_handler_replace(CommandLine& handler, Options& o) {
  auto replace = handler.add_command("replace", "Let another handler go on, at one place in a queue's order");
  add_broker_option(replace, o.broker);
  add_queue_name(replace, o);
  replace.add_option("HANDLER", o.file, "Its FILE, or FILE:NAME=VALUE with a parameter").required().check(not_empty());
  return replace;
}

CommandLine add_handler_check(CommandLine& handler, HandlerCheck& check) {
  auto command = handler.add_command("check", "Compile a handler's source file, without a broker");
  command
      .add_option("FILE", check.file,
                  "Source, or a handler built ahead (.so), or code of any compiler (.ptx, .ltoir, .o)")
      .required()
      .check(not_empty());
  command.add_option("--backend", check.backend, "cuda: by NVRTC; host: by $IPCQ_CXX, c++, g++ or clang++ [cuda]")
      .check(one_of({"host", "cuda"}));
  command.add_option("--arch", check.architecture, "Architecture of the GPU [that of GPU 0, else sm_90]")
      .check(not_empty());
  command.add_option("--define,-D", check.definitions, "Macro, NAME or NAME=VALUE").one_value_each().check(not_empty());
  command.add_option("--include,-I", check.include_dirs, "Folder of headers, beside the file's own")
      .one_value_each()
      .check(not_empty());
  command.add_flag("--json", check.json, "JSON on stdout");
  return command;
}

int run(int argc, char** argv) {
  Signals signals;
  Options o;
  CommandLine line(
      "Looks at libipcq brokers and changes their queues, tidies up after dead ones, examines this machine.");
  line.add_common_options("ipcq");
  line.require_command();
  const auto add_json = [&](CommandLine& command) { command.add_flag("--json", o.json, "JSON on stdout"); };
  const auto add_broker = [&](CommandLine& command) { add_broker_option(command, o.broker); };
  const auto add_queue = [&](CommandLine& command) { add_queue_name(command, o); };

  auto list = line.add_command("list", "Brokers of this user, living and dead");
  add_json(list);
  auto stats = line.add_command("stats", "Rates, depth, groups and endpoints of the queues");
  add_json(stats);
  add_broker(stats);
  const auto only = stats.add_option("QUEUE", o.queue, "Only this queue [all]").check(object_name());
  stats.add_option("--queue", o.queue, "The same").excludes(only).check(object_name());
  stats.add_option("--watch", o.watch, "Again every so many seconds").transform(positive());
  stats.add_option("--wait-for", o.wait_for, "Seconds to wait for the broker to appear").transform(not_negative());
  auto doctor = line.add_command("doctor", "What this machine lacks, and what to do about it");
  add_json(doctor);
  doctor.add_option("--redis", o.redis, "Also examine this server, redis://... or unix://..., by ipcq-redis")
      .check(not_empty());
  auto clean =
      line.add_command("clean", "Remove what dead brokers of this user left behind, wherever their run directory is");
  add_json(clean);
  clean.add_flag("--dry-run", o.dry_run, "Only say what would be removed");
  auto dump = line.add_command("dump", "Ring state of a queue, for humans");
  add_json(dump);
  add_broker(dump);
  add_queue(dump);
  auto end = line.add_command("end", "Say that no further producer will come: consumers see the end");
  add_broker(end);
  add_queue(end);
  const auto executor = add_executor(line, o);
  const auto state = add_state(line, o);
  auto handler = line.add_command("handler", "Handlers of your own");
  handler.require_command();
  HandlerCheck check;
  const auto check_command = add_handler_check(handler, check);
  const auto replace = add_handler_replace(handler, o);
  const LifeCycle life_cycle(line);

  if (const auto code = line.parse(argc, argv)) return *code;
  if (int code = kOk; life_cycle.run(code)) return code;
  if (check_command.is_chosen()) return handler_check_command(check);
  if (replace.is_chosen()) replace_handler(o.queue, o.file, o.broker);
  if (state.is_chosen()) (o.action == "save" ? save_state : load_state)(o.queue, o.file, o.broker);
  if (list.is_chosen()) return list_command(o.json);
  if (stats.is_chosen()) return stats_command(o, signals);
  if (doctor.is_chosen()) return doctor_command(o.redis, o.json);
  if (clean.is_chosen()) return clean_command(o.dry_run, o.json);
  if (dump.is_chosen()) return dump_command(o);
  if (end.is_chosen()) end_of_stream(o.queue, o.broker);
  if (executor.is_chosen()) {
    set_executor(o.queue, o.executor == "stream" ? ExecutorKind::stream : ExecutorKind::persistent, o.broker);
  }
  return kOk;
}

}  // namespace
}  // namespace ipcq::program

int main(int argc, char** argv) {
  ipcq::program::open_standard_descriptors();
  ipcq::program::set_up_logging("ipcq");
  return ipcq::program::run_guarded([&] { return ipcq::program::run(argc, argv); });
}
