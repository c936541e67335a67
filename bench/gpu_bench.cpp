// Catalogue: messages from one CPU process through a queue on the GPU to another, against bare loops on the same GPU.
//
//   latency/bare        one warp returns 48 bytes in four tagged units; from the first store to the sight of the last
//                       unit, in one process
//   latency/persistent  producer process, persistent kernel (identity), consumer process, both spin, one message of 48
//   latency/stream      bytes at a time; from the clock read before send() to the one read after receive().
//                       The consumer acknowledges through a shared word, which is not timed
//   latency/call        a process calls the handler (identity) of the persistent kernel, spins, and gets the reply
//   inline/bare         a block of 512 threads moves 48-byte lines from ring to ring; one thread writes, one reads
//   inline/ipcq         send_many and receive_many in batches of 256 through the persistent kernel; from the first
//                       receipt to the last; delivered means received, its number checked, and released
//   inline/6x6          the same from six producers to one group of six consumers, every byte compared
//   records/ipcq        the same by consume() in a queue with batch=records, in batches of 64 KiB
//   bulk/bare           copy engines, 64 MiB at a time, to the GPU and back at once; the bytes of one direction
//   bulk/4k             messages of 4 KiB and 1 MiB in slots, pulled from the mirror, processed (identity) and pushed
//   bulk/1m             back; the producer writes and the consumer checks the number at both ends of each; timed as
//   bulk/1m_stream      inline/ipcq. The bytes of one direction
//   consume/values      a process fills messages of 1 MiB by kernels, another checks every word by kernels of 32 blocks
//   consume/payload     of 256 threads that get pointer and length by value, one thread asking for the status; or, as
//   consume/header      in the README, a payload, which every thread asks; or a header; or that of receive_ahead().
//   From consume/ahead       the 20th message to the end of the last kernel
//   handlers/frames         4K frames of 33 177 600 bytes in VRAM through the built-in `invert` and through a handler
//   of handlers/frames_stream  the user's that does the same, in turn, five times each; both clients lend and release,
//   and
//                           fill and check the first frames. From the 100th frame to the last; us a frame
//   handlers/latency        as latency/persistent with these two, in turn
//   handlers/start          from Broker::create to the receipt of the first message of 48 bytes, with a runner that
//   works
//                           already: built-in, the user's that nobody has compiled, and from the cache; in ms
//
// The last lines give ratios and targets. Figures in counters: times in us, rates per second. IPCQ_BENCH_SCALE=0.1
// sends a tenth of the messages.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>

#include "common/peer.hpp"
#include "common/report.hpp"
#include "gpu_bench.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq::bench {

std::size_t scaled(std::size_t count) {
  static const double scale = [] {
    const char* const text = std::getenv("IPCQ_BENCH_SCALE");
    return text != nullptr ? std::atof(text) : 1.0;
  }();
  return std::max<std::size_t>(static_cast<std::size_t>(static_cast<double>(count) * scale), 2 * kBatch);
}

namespace {

// First line of a file, or of what a command says.
std::string first_line(std::FILE* file, int (*close)(std::FILE*)) {
  char line[256] = {};
  if (file == nullptr) return "unknown";
  const bool read = std::fgets(line, sizeof line, file) != nullptr;
  close(file);
  line[std::strcspn(line, "\n")] = '\0';
  return read ? line : "unknown";
}

std::string commit() {
  if (const char* const given = std::getenv("IPCQ_COMMIT"); given != nullptr && *given != '\0') return given;
  return first_line(popen("git rev-parse --short HEAD 2>/dev/null", "r"), pclose);
}

// What the broker says of its runner: "GPU 0 (NVIDIA H200): runner pid 77, under MPS".
std::string describe_gpu() {
  std::string said;
  try {
    Broker broker({.name = broker_name(), .log = [&](LogLevel, std::string_view text) {
                     if (text.find("runner pid") != std::string_view::npos) said = text;
                   }});
    broker.create("q", {.slots = 0, .handler = "identity", .backend = "cuda"});
  } catch (const std::exception& e) {
    fail(e.what());
  }
  return said;
}

void add_gpu_context() {
  const std::string gpu = describe_gpu();
  benchmark::AddCustomContext("gpu", gpu.substr(0, gpu.find(": runner")));
  benchmark::AddCustomContext("driver", first_line(std::fopen("/proc/driver/nvidia/version", "re"), std::fclose));
  benchmark::AddCustomContext("mps", gpu.find("under MPS") != std::string::npos ? "yes" : "no");
  benchmark::AddCustomContext("commit", commit());
}

void print_last_lines() {
  const Summary lines(62, 8);
  lines.figure("48 B, process to process through the persistent kernel, p50", "latency/persistent", 1, "us",
               below(6.0));
  lines.figure("48 B, process to process through the stream executor, p50", "latency/stream", 1, "us");
  lines.figure("48 B, bare round trip through one warp, p50", "latency/bare", 1, "us");
  lines.ratio("48 B p50: persistent / bare", "latency/persistent", "latency/bare");
  lines.ratio("48 B p50: call to the handler and back / persistent", "latency/call", "latency/persistent",
              at_most(1.1));
  lines.ratio("48 B p50: stream / bare", "latency/stream", "latency/bare");
  lines.figure("48 B messages through the persistent kernel", "inline/ipcq", 1e6, "M/s");
  lines.ratio("48 B messages: ipcq / bare block", "inline/ipcq", "inline/bare");
  lines.figure("48 B messages, 6 producers and 6 consumers", "inline/6x6", 1e6, "M/s");
  lines.figure("48 B records through the persistent kernel", "records/ipcq", 1e6, "M/s", at_least(200));
  lines.figure("4 KiB messages, there and back", "bulk/4k", 1e9, "GB/s each way");
  lines.figure("1 MiB messages, there and back", "bulk/1m", 1e9, "GB/s each way");
  lines.ratio("4 KiB: ipcq / copy engines", "bulk/4k", "bulk/bare");
  lines.ratio("1 MiB: ipcq / copy engines", "bulk/1m", "bulk/bare");
  lines.figure("1 MiB messages used by kernels", "consume/payload", 1e3, "k/s");
  lines.ratio("1 MiB used by kernels: by payload / by values", "consume/payload", "consume/values", at_least(0.91));
  lines.ratio("1 MiB used by kernels: by header / by payload", "consume/header", "consume/payload");
  lines.ratio("1 MiB used by kernels: taken ahead / by header", "consume/ahead", "consume/header");
  lines.ratio("1 MiB, stream executor: ipcq / copy engines", "bulk/1m_stream", "bulk/bare");
  lines.ratio("4K frame, time: source handler / built-in one", "handlers/frames/us_per_frame", at_most(1.03));
  lines.ratio("4K frame, stream executor: source / built-in", "handlers/frames_stream/us_per_frame", at_most(1.03));
  lines.ratio("48 B p50: source / built-in", "handlers/latency/p50_us", at_most(1.05));
  lines.ratio("48 B p99: source / built-in", "handlers/latency/p99_us");
  lines.figure("first message later than with a built-in one: source, cold cache", "handlers/start/quick", 1, "ms",
               at_most(300));
  lines.figure("first message later than with a built-in one: source, warm cache", "handlers/start/cached", 1, "ms",
               at_most(20));
}

}  // namespace

BENCHMARK(latency_bare)->Name("latency/bare")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(latency_persistent)->Name("latency/persistent")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(latency_stream)->Name("latency/stream")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(latency_call)->Name("latency/call")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(inline_bare)->Name("inline/bare")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(inline_ipcq)->Name("inline/ipcq")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(inline_6x6)->Name("inline/6x6")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(records_ipcq)->Name("records/ipcq")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(bulk_bare)->Name("bulk/bare")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(bulk_4k)->Name("bulk/4k")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(bulk_1m)->Name("bulk/1m")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(consume_values)->Name("consume/values")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(consume_payload)->Name("consume/payload")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(consume_header)->Name("consume/header")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(consume_ahead)->Name("consume/ahead")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(bulk_1m_stream)->Name("bulk/1m_stream")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(handlers_frames)->Name("handlers/frames")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(handlers_frames_stream)->Name("handlers/frames_stream")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(handlers_latency)->Name("handlers/latency")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(handlers_start)->Name("handlers/start")->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace ipcq::bench

int main(int argc, char** argv) {
  return ipcq::bench::run_benchmarks(argc, argv, ipcq::bench::print_last_lines, ipcq::bench::add_gpu_context);
}
