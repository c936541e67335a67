// ipcq-consumer: receives from one queue, and verifies, writes or only measures the messages.
#include <unistd.h>

#include <cstdlib>
#include <ipcq/error.hpp>
#include <memory>
#include <optional>
#include <string>

#include "gpu_receiver.hpp"
#include "outcome.hpp"
#include "program/attach.hpp"
#include "program/exit_code.hpp"
#include "program/logging.hpp"
#include "program/program.hpp"
#include "program_gpu/gpu_choice.hpp"
#include "receiver.hpp"

namespace ipcq::program {
namespace {

struct Options {
  std::string queue, group = "default", output;
  std::optional<std::string> handler;
  bool verify = false, follow = false, lossy = false, json = false, decode = false;
  double timeout = 0;
  Limits limits{.batch = 0};
  AttachOptions attach;
  GpuOptions gpu;
};

void describe(CommandLine& line, Options& o) {
  line.add_option("QUEUE", o.queue, "Queue to receive from").required().check(object_name());
  line.add_option("--group", o.group, "Consumer group: each message goes to one member of each")
      .check(object_name())
      .show_default();
  line.add_flag("--lossy", o.lossy,
                "A group that this consumer founds skips its oldest messages rather than delay anyone");
  line.add_flag("--verify", o.verify, "Check every byte of the generated 4K picture, and for gaps and repeats");
  line.add_option("--handler", o.handler, "What --verify expects the queue to have done [what the broker says]")
      .check(not_empty());
  line.add_option("--output", o.output, "File for the payloads, - for standard output").check(not_empty());
  line.add_flag("--decode", o.decode, "With --output: each message as a line of JSON, as the queue's schema says");
  line.add_option("--count", o.limits.count, "Messages to take [no limit]").transform(whole_number(1));
  line.add_option("--batch", o.limits.batch, "Messages to take together, on the CPU [64 small ones, 1 large one]")
      .transform(whole_number(1, 4096));
  line.add_flag("--follow", o.follow, "Go on when all producers have closed");
  line.add_option("--timeout", o.timeout, "Give up, exit code 4, when no message comes for so many seconds [never]")
      .transform(positive());
  add_gpu_options(line, o.gpu);
  add_attach_options(line, o.attach);
  line.add_flag("--json", o.json, "Summary as one JSON object, last line on stdout (on stderr with --output -)");
}

// Whether this consumer will receive every message of every producer, from the first one on.
bool reads_from_start(const QueueStats& queue, const std::string& name) {
  for (const auto& group : queue.groups) {
    if (group.name == name) return group.durable && group.members <= 1 && group.waiting + group.held == queue.published;
  }
  return false;
}

bool is_shared(const QueueStats& queue, const Options& o) {
  for (const auto& group : queue.groups) {
    if (group.name == o.group) return group.members > 1;
  }
  return false;
}

// With --output none: the CPU writes files, from the mirror.
std::unique_ptr<GpuDevice> choose_gpu(const Options& o, const QueueStats& queue) {
  if (o.output.empty()) return choose_gpu(o.gpu, queue);
  if (o.gpu.device) throw UsageError("--device: --output is written by the CPU; leave out one of them");
  return nullptr;
}

// The text of the queue's schema. Throws UsageError where it has none.
std::string schema_of(const Consumer& consumer, const std::string& queue) {
  std::string text = consumer.schema();
  if (!text.empty()) return text;
  throw UsageError("queue '" + queue +
                   "': what comes out of it has no type, which --decode needs: create it with one (schema; with a "
                   "handler result_schema), or let a typed endpoint open it first");
}

// The queue's statistics now, or `before` if the broker is gone.
QueueStats stats_again(const Attachment& attachment, const QueueStats& before) {
  try {
    return attachment.stats_now(before.name).value_or(before);
  } catch (const Error&) {
    return before;
  }
}

// A failure on the way does not end the program: it still reports what was received.
struct Received {
  Ending ending = Ending::error;
  int failure = kOk;  // exit code of the failure
};

Received receive(const Options& o, Consumer& consumer, const GpuDevice* gpu, const std::optional<std::string>& handler,
                 Output* output, SequenceCheck& sequences, Tally& tally) {
  Received received;
  Progress progress(o.queue);
  try {
    std::optional<Pattern4k> pattern;
    if (handler && gpu == nullptr) pattern.emplace(*handler);
    if (output != nullptr) output->begin();
    if (gpu == nullptr) {
      received.ending =
          Receiver(consumer, o.limits, sequences, pattern ? &*pattern : nullptr, output, progress, tally).run();
    } else if constexpr (kWithCuda) {
      received.ending = GpuReceiver(consumer, *gpu, o.limits, sequences, handler, progress, tally).run();
    }
    if (output != nullptr) output->close();
  } catch (...) {
    progress.finish();
    received = {Ending::error, report_current_exception()};
  }
  if (output != nullptr) tally.returned = output->returned();
  return received;
}

int run(Options& o, Signals& signals) {
  const Wait wait = parse_wait(o.attach.wait);
  std::unique_ptr<GpuDevice> gpu;  // outlives the session, which watches its stream
  Attachment attachment(o.attach.broker, to_duration(o.attach.wait_for));
  gpu = choose_gpu(o, attachment.stats(o.queue));
  std::optional<Output> output;
  if (o.decode && o.output.empty()) throw UsageError("--decode: says how --output writes messages; give both");
  if (!o.output.empty()) output.emplace(o.output, signals);
  const auto until = o.follow ? Until::forever : Until::end;
  Consumer consumer = attachment.consumer(
      o.queue, {.group = o.group, .wait = wait, .until = until, .lossy = o.lossy, .cuda = gpu != nullptr});
  const auto subscription = signals.subscribe([&](int count) {
    if (count > 1) std::_Exit(128 + SIGINT);
    attachment.session().interrupt();
  });
  const QueueStats queue = attachment.stats(o.queue);
  if (o.decode) {
    static_cast<void>(schema_of(consumer, o.queue));
    output->decode_by([&] { return schema_of(consumer, o.queue); });
  }
  std::optional<std::string> handler;
  if (o.verify) handler = o.handler.value_or(queue.handler);
  if (o.limits.batch == 0) o.limits.batch = queue.slot_bytes <= (64U << 10) ? 64 : 1;
  if (o.timeout > 0) o.limits.patience = to_duration(o.timeout);

  SequenceCheck sequences(reads_from_start(queue, o.group));
  Tally tally;
  const Received received = receive(o, consumer, gpu.get(), handler, output ? &*output : nullptr, sequences, tally);
  const QueueStats after = stats_again(attachment, queue);
  Outcome outcome{.queue = o.queue,
                  .group = o.group,
                  .broker = attachment.broker(),
                  .backend = queue.backend,
                  .executor = after.executor,
                  .wait = o.attach.wait,
                  .gpu = gpu ? std::optional(gpu->ordinal()) : std::nullopt,
                  .follow = o.follow,
                  .ending = received.ending,
                  .missing = sequences.missing(),
                  .repeated = sequences.repeated()};
  // In a group with several members a gap may be a message that another one received.
  if (o.verify && outcome.missing != 0 && received.ending != Ending::broker_died && is_shared(after, o)) {
    log::warn("group '{}' has other members, which took what is missing here: gaps are not judged", o.group);
    outcome.missing = 0;
  }
  if (!o.verify) outcome.missing = outcome.repeated = 0;
  consumer.close();
  const auto json = o.json ? std::optional(o.output == "-" ? STDERR_FILENO : STDOUT_FILENO) : std::nullopt;
  report(outcome, tally, o.verify, json);
  return received.failure != kOk ? received.failure : exit_code(outcome, tally);
}

}  // namespace
}  // namespace ipcq::program

int main(int argc, char** argv) {
  using namespace ipcq::program;
  return run_program<Options>("ipcq-consumer", "Receives messages from a queue.", argc, argv, describe, run);
}
