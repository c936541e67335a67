// ipcq-producer: publishes generated frames, lines or blocks of a file to one queue.
#include <unistd.h>

#include <cstdlib>
#include <ipcq/admin.hpp>
#include <ipcq/error.hpp>
#include <memory>
#include <optional>
#include <string>

#include "gpu_sources.hpp"
#include "program/attach.hpp"
#include "program/exit_code.hpp"
#include "program/format.hpp"
#include "program/logging.hpp"
#include "program/print.hpp"
#include "program/program.hpp"
#include "program/size_text.hpp"
#include "program/stats_report.hpp"
#include "program_gpu/gpu_choice.hpp"
#include "sources.hpp"

namespace ipcq::program {
namespace {

struct Options {
  std::string queue, generate, block, size, input;
  bool lines = false, json = false, stats = false;
  std::uint64_t block_bytes = 0, size_bytes = 0;
  Publisher::Limits limits;
  AttachOptions attach;
  GpuOptions gpu;
};

void describe(CommandLine& line, Options& o) {
  line.add_option("QUEUE", o.queue, "Queue to publish to").required().check(object_name());
  auto sources = line.add_group("source", "What to publish");
  sources.add_option("--generate", o.generate, "4k: moving RGB picture that a consumer can verify; zero; random")
      .check(one_of({"4k", "zero", "random"}));
  sources.add_flag("--lines", o.lines, "Each line of the input, with its newline");
  sources.add_option("--block,--frame", o.block, "Blocks of this many bytes of the input (4k-rgb, 4KiB, ...)")
      .check(not_empty());
  sources.require_one();
  line.add_option("--size", o.size, "Bytes per message of --generate zero and random [what the queue takes]")
      .check(not_empty());
  line.add_option("--input", o.input, "File to read, - for standard input [-]").check(not_empty());
  line.add_option("--count", o.limits.count, "Messages to send [no limit]").transform(whole_number(1));
  line.add_option("--rate", o.limits.rate, "Messages per second [as fast as possible]").transform(positive());
  line.add_option("--batch", o.limits.batch, "Messages that take their places together [256; 1 with --rate]")
      .transform(whole_number(1, 1 << 16));
  add_gpu_options(line, o.gpu);
  add_attach_options(line, o.attach);
  line.add_flag("--stats", o.stats, "The queue's counters on stderr at the end");
  line.add_flag("--json", o.json, "Summary as one JSON object on stdout at the end");
}

void check(Options& o) {
  const bool reads = o.lines || !o.block.empty();
  if (!reads && !o.input.empty()) throw UsageError("--input: --generate reads none; use --lines or --block");
  if (!o.size.empty() && (reads || o.generate == "4k"))
    throw UsageError("--size goes with --generate zero or random only");
  if (reads && o.gpu.device) throw UsageError("--device: only --generate works on a GPU");
  if (reads && o.input.empty() && isatty(STDIN_FILENO) == 1) {
    throw UsageError("no input: give --input FILE, or --input - to type it here, or pipe something in");
  }
  if (o.input.empty()) o.input.push_back('-');  // an assignment makes GCC 12 warn of an overlap that cannot happen
  if (!o.block.empty()) o.block_bytes = parse_size(o.block, "--block");
  if (!o.size.empty()) o.size_bytes = parse_size(o.size, "--size");
}

void publish(const Options& o, Publisher& publisher, std::optional<Input>& input, const GpuDevice* gpu) {
  if constexpr (kWithCuda) {
    if (gpu != nullptr) return publish_on_gpu(publisher, *gpu, o.generate, o.size_bytes);
  }
  if (o.generate == "4k") return publish_pattern(publisher);
  if (o.generate == "zero") return publish_zeros(publisher, o.size_bytes);
  if (o.generate == "random") return publish_noise(publisher, o.size_bytes);
  if (o.lines) return publish_lines(publisher, *input);
  publish_blocks(publisher, *input, o.block_bytes);
}

void summarise(const Options& o, const Publisher& publisher, double seconds, std::string_view status,
               const GpuDevice* gpu) {
  const double rate = seconds > 0 ? static_cast<double>(publisher.messages()) / seconds : 0;
  const double gb_per_s = seconds > 0 ? static_cast<double>(publisher.bytes()) / seconds / 1e9 : 0;
  log::info("queue '{}': {} messages, {} in {} ({}/s, {:.2f} GB/s), {} rejected: {}", o.queue, publisher.messages(),
            human_bytes(publisher.bytes()), human_seconds(seconds), human_rate(rate), gb_per_s, publisher.rejected(),
            status);
  if (!o.json) return;
  Json object = {{"queue", o.queue},
                 {"messages", publisher.messages()},
                 {"bytes", publisher.bytes()},
                 {"seconds", seconds},
                 {"messages_per_s", rate},
                 {"gb_per_s", gb_per_s},
                 {"wait", o.attach.wait},
                 {"gpu", nullptr},
                 {"rejected", publisher.rejected()},
                 {"status", status}};
  if (gpu != nullptr) object.set("gpu", gpu->ordinal());
  print_json(object);
}

int run(Options& o, Signals& signals) {
  check(o);
  const Wait wait = parse_wait(o.attach.wait);
  std::optional<Input> input;  // opened first: consumers must not see a producer open and close for a missing file
  if (o.generate.empty()) input.emplace(o.input, signals);
  std::unique_ptr<GpuDevice> gpu;  // outlives the session, which watches its stream
  Attachment attachment(o.attach.broker, to_duration(o.attach.wait_for));
  if (!o.lines) {
    const QueueStats queue = attachment.stats(o.queue);
    require_fit(queue, o.generate, o.block_bytes, o.size_bytes);
    if (!o.generate.empty()) gpu = choose_gpu(o.gpu, queue);
  }
  Publisher publisher(attachment.producer(o.queue, {.wait = wait, .cuda = gpu != nullptr}), o.queue, o.limits, signals);
  const auto subscription = signals.subscribe([&](int count) {
    if (count > 1) std::_Exit(128 + SIGINT);
    attachment.session().interrupt();
  });

  int code = kOk;
  std::string_view status = "ok";
  try {
    publish(o, publisher, input, gpu.get());
  } catch (...) {
    code = report_current_exception();  // and still reports what was sent
    status = "error";
  }
  const double seconds = publisher.seconds();
  // A stop request ends the stream regularly: it is no failure.
  publisher.close(code != kOk || (publisher.status() != Status::ok && !signals.stop_requested()));
  if (signals.stop_requested()) {
    status = "interrupted";
  } else if (publisher.status() != Status::ok) {
    status = to_string(publisher.status());
    log::error("queue '{}' of broker '{}' took no more: {}", o.queue, attachment.broker(), status);
    code = kFailure;
  }
  summarise(o, publisher, seconds, status, gpu.get());
  if (o.stats) print(to_text(fetch_stats(attachment.broker()), o.queue), STDERR_FILENO);
  return code;
}

}  // namespace
}  // namespace ipcq::program

int main(int argc, char** argv) {
  using namespace ipcq::program;
  return run_program<Options>("ipcq-producer", "Publishes messages to a queue.", argc, argv, describe, run);
}
