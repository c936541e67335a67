// ipcq-consumer: receives from one queue; verifies, writes out or just measures.
#include <cstdlib>
#include <ipcq/admin.hpp>
#include <ipcq/error.hpp>
#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "common/attach.hpp"
#include "common/command_line.hpp"
#include "common/exit_code.hpp"
#include "common/logging.hpp"
#include "common/signals.hpp"
#include "outcome.hpp"
#include "receiver.hpp"

namespace ipcq::program {
namespace {

using Ending = Receiver::Ending;

struct Options {
  std::string queue, broker, group = "default", output, wait = "hybrid";
  std::optional<std::string> handler;
  bool verify = false, follow = false, lossy = false, json = false;
  double wait_for = 5, timeout = 0;
  Receiver::Limits limits{.batch = 0};
};

void describe(CLI::App& app, Options& o) {
  app.add_option("QUEUE", o.queue, "Queue to receive from")->required();
  app.add_option("--group", o.group, "Consumer group: each message goes to one member of each")->capture_default_str();
  app.add_flag("--lossy", o.lossy,
               "A group that this consumer founds skips its oldest messages rather than delay anyone");
  app.add_flag("--verify", o.verify, "Check every byte of the generated 4K picture, and for gaps and repeats");
  app.add_option("--handler", o.handler, "What --verify expects the queue to have done [what the broker says]");
  app.add_option("--output", o.output, "File for the payloads, - for standard output");
  app.add_option("--count", o.limits.count, "Messages to take [no limit]")->check(positive());
  app.add_option("--batch", o.limits.batch, "Messages to take together [64 small ones, 1 large one]")
      ->check(CLI::Range(1, 4096));
  app.add_flag("--follow", o.follow, "Go on when all producers have closed");
  app.add_option("--timeout", o.timeout, "Give up, exit code 4, when no message comes for so many seconds [never]")
      ->check(positive());
  app.add_option("--wait", o.wait, "spin, hybrid or sleep")->envname("IPCQ_WAIT")->capture_default_str();
  app.add_option("--broker", o.broker, "Broker name or socket path [$IPCQ_BROKER, else default]");
  app.add_option("--wait-for", o.wait_for, "Seconds to wait for broker and queue to appear")
      ->envname("IPCQ_WAIT_FOR")
      ->check(not_negative())
      ->capture_default_str();
  app.add_flag("--json", o.json, "Summary as one JSON object, last line on stdout (on stderr with --output -)");
}

QueueStats find_queue(const std::string& broker, const std::string& name) {
  for (auto& queue : fetch_stats(broker).queues) {
    if (queue.name == name) return queue;
  }
  throw NotFoundError(fmt::format("broker '{}' no longer has a queue '{}'", broker, name));
}

// Whether the group's next message is the first of each producer, and all of them come here.
bool reads_from_start(const QueueStats& queue, const std::string& name) {
  for (const auto& group : queue.groups) {
    if (group.name == name) return group.durable && group.members <= 1 && group.waiting + group.held == queue.published;
  }
  return false;
}

bool is_shared(const std::string& broker, const Options& o) {
  for (const auto& group : find_queue(broker, o.queue).groups) {
    if (group.name == o.group) return group.members > 1;
  }
  return false;
}

int run(Options& o, Signals& signals) {
  const Wait wait = parse_wait(o.wait);
  Attachment attachment(o.broker, to_duration(o.wait_for));
  std::unique_ptr<Output> output;
  if (!o.output.empty()) output = std::make_unique<Output>(o.output);
  const auto until = o.follow ? Until::forever : Until::end;
  Consumer consumer = attachment.consumer(o.queue, {.group = o.group, .wait = wait, .until = until, .lossy = o.lossy});
  const auto subscription = signals.subscribe([&](int count) {
    if (count > 1) std::_Exit(128 + SIGINT);
    attachment.session().interrupt();
  });
  const QueueStats queue = find_queue(attachment.broker(), o.queue);
  std::optional<Pattern4k> pattern;
  if (o.verify) pattern.emplace(o.handler.value_or(queue.handler));
  if (o.limits.batch == 0) o.limits.batch = queue.slot_bytes <= (64U << 10) ? 64 : 1;
  if (o.timeout > 0) o.limits.patience = to_duration(o.timeout);

  SequenceCheck sequences(reads_from_start(queue, o.group));
  Progress progress(o.queue);
  Receiver receiver(consumer, o.limits, sequences, pattern ? &*pattern : nullptr, output.get(), progress);
  const Ending ending = receiver.run();
  progress.finish();
  if (output) output->close();
  Outcome outcome{.queue = o.queue,
                  .group = o.group,
                  .broker = attachment.broker(),
                  .backend = queue.backend,
                  .wait = o.wait,
                  .follow = o.follow,
                  .ending = ending,
                  .missing = sequences.missing(),
                  .repeated = sequences.repeated()};
  // In a group of several a gap here is a message of another member.
  if (o.verify && outcome.missing != 0 && ending != Ending::broker_died && is_shared(attachment.broker(), o)) {
    spdlog::warn("group '{}' has other members, which took what is missing here: gaps are not judged", o.group);
    outcome.missing = 0;
  }
  if (!o.verify) outcome.missing = outcome.repeated = 0;
  consumer.close();
  report(outcome, receiver, o.verify, o.json ? (o.output == "-" ? stderr : stdout) : nullptr);
  return exit_code(outcome, receiver);
}

}  // namespace
}  // namespace ipcq::program

int main(int argc, char** argv) {
  using namespace ipcq::program;
  set_up_logging("ipcq-consumer");
  return run_guarded([&] {
    Signals signals;
    CLI::App app("Receives messages from a queue.");
    Options options;
    describe(app, options);
    add_common_options(app, "ipcq-consumer");
    if (const auto code = parse_command_line(app, argc, argv)) return *code;
    return run(options, signals);
  });
}
