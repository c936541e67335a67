// A handler of the user's, compiled by NVRTC, beside the built-in one that does the same. $IPCQ_BENCH_HANDLER names the
// file of another that inverts each byte, as one of ipcq.handler in Python; of such a one handlers_start says nothing.
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/clock.hpp"
#include "common/oneway.hpp"
#include "common/peer.hpp"
#include "common/temporary_folder.hpp"
#include "gpu_bench.hpp"
#include "gpu_client.hpp"
#include "ipcq/cuda.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq::bench {

namespace {

using detail::check_cuda;
using detail::driver;

constexpr unsigned kRounds = 5;
const char* const kBuiltIn = "invert";

constexpr const char* kSource = R"(#include <ipcq/handler.hpp>

struct Invert {
  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t) noexcept { return true; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const noexcept {
    ipcq::handlers::transform_bytes(data, length, team, [](std::uint64_t w) { return ~w; });
  }
};
IPCQ_HANDLER(Invert)
)";

// The source file, in a folder of its own with the caches of its images, one of which it is compiled into. As the
// benchmark's environment says where the cache is, no broker may be there when it changes.
class SourceHandler {
 public:
  SourceHandler() {
    std::ofstream(folder_.path() / "invert.cu") << kSource;
    use_cache("cache");
    try {
      (void)start_broker({.slots = 0, .handler = file(), .quick_start = false, .backend = "cuda"});
    } catch (const BackendError& e) {
      missing_ = e.what();
    }
  }
  SourceHandler(const SourceHandler&) = delete;
  SourceHandler& operator=(const SourceHandler&) = delete;
  std::string file() const {
    const char* const given = ::getenv("IPCQ_BENCH_HANDLER");
    return given != nullptr && *given != '\0' ? given : (folder_.path() / "invert.cu").string();
  }
  void use_cache(const std::string& name) const { ::setenv("XDG_CACHE_HOME", (folder_.path() / name).c_str(), 1); }
  // Why it cannot be compiled here; empty where it can.
  const std::string& missing() const { return missing_; }

 private:
  TemporaryFolder folder_{"gpu-bench-"};
  std::string missing_;
};

// The case's handler. Null, and the case is skipped, where there is no compiler.
const SourceHandler* source_handler(benchmark::State& state) {
  static const SourceHandler handler;
  if (handler.missing().empty()) return &handler;
  state.SkipWithError(("skipped: " + handler.missing()).c_str());
  return nullptr;
}

// What was measured of one quantity, round by round: in each round of both handlers, one right after the other.
struct Pairs {
  std::vector<double> built_in, source;

  void report(benchmark::State& state, const std::string& name, const std::string& quantity) const {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < built_in.size(); ++i) ratios.push_back(source[i] / built_in[i]);
    state.counters["built_in_" + quantity] = median(built_in);
    state.counters["source_" + quantity] = median(source);
    state.counters["lowest_" + quantity + "_ratio"] = *std::min_element(ratios.begin(), ratios.end());
    state.counters["highest_" + quantity + "_ratio"] = *std::max_element(ratios.begin(), ratios.end());
    report_figure(state, name + "/" + quantity, quantity + "_ratio", median(ratios));
  }
};

// `measure(handler, source)` adds what it measures to those of one handler. Who is first alternates, so that a clock
// that drifts within a round favours neither.
template <class Measure>
void in_turn(const SourceHandler& source, Measure measure) {
  for (unsigned round = 0; round < kRounds; ++round) {
    for (const bool of_source : {round % 2 == 1, round % 2 == 0}) {
      measure(of_source ? source.file() : std::string(kBuiltIn), of_source);
    }
  }
}

// ---- frames ----

constexpr std::size_t kFrame = std::size_t{3840} * 2160 * 4;
constexpr std::size_t kChecked = 16;   // frames at the beginning that are filled and checked
constexpr std::size_t kSettled = 100;  // the pipe is full

void produce_frames(std::size_t count) {
  (void)use_gpu();
  const CUstream stream = make_stream();
  auto session = attach();
  auto out = session.producer("stream", {.wait = Wait::spin(), .wait_for = kPatience, .cuda = true});
  for (std::size_t n = 0; n < count; ++n) {
    auto slot = cuda::loan(out, stream);
    if (!slot) fail("no loan");
    if (n < kChecked) {
      check_cuda(driver().cuMemsetD8Async(reinterpret_cast<CUdeviceptr>(slot->device()), static_cast<unsigned char>(n),
                                          kFrame, stream),
                 "cuMemsetD8Async", "gpu_bench");
    }
    if (slot->publish(kFrame) != Status::ok) fail("not published");
  }
}

void check_frame(const cuda::Message& message, std::size_t n, CUstream stream, std::vector<std::byte>& bytes) {
  check_cuda(driver().cuMemcpyDtoHAsync(bytes.data(), reinterpret_cast<CUdeviceptr>(message.device()), kFrame, stream),
             "cuMemcpyDtoHAsync", "gpu_bench");
  synchronize(stream);
  const auto expected = static_cast<std::byte>(255 - n);
  if (message.length() != kFrame || std::count(bytes.begin(), bytes.end(), expected) != static_cast<long>(kFrame)) {
    fail("frame " + std::to_string(n) + " was not inverted");
  }
}

// Returns us a frame.
double consume_frames(std::size_t count) {
  (void)use_gpu();
  const CUstream stream = make_stream();
  auto session = attach();
  auto in = session.consumer("stream", {.wait = Wait::spin(), .wait_for = kPatience, .cuda = true});
  std::vector<std::byte> bytes(kFrame);
  Clock::time_point start;
  for (std::size_t n = 0; n < count; ++n) {
    auto message = cuda::receive(in, stream);
    if (!message) fail("receive failed: " + std::string(to_string(message.status())));
    if (n < kChecked) check_frame(*message, n, stream, bytes);
    if (n != kSettled) continue;
    synchronize(stream);
    start = Clock::now();
  }
  synchronize(stream);
  return seconds_since(start) * 1e6 / static_cast<double>(count - kSettled - 1);
}

// The executor tells its counts a moment after the messages.
void check_all_processed(const Broker& broker, const std::string& handler, std::size_t count) {
  const auto start = Clock::now();
  for (;;) {
    const QueueStats stats = broker.stats().queues.front();
    if (stats.processed == count && stats.handler_errors == 0) return;
    if (seconds_since(start) > 10) {
      fail(handler + " processed " + std::to_string(stats.processed) + " of " + std::to_string(count) +
           " frames, with " + std::to_string(stats.handler_errors) + " errors");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

double frame_us(const std::string& handler, ExecutorKind executor, std::size_t count) {
  const SharedMemory<double> us;
  Peer consumer([&] { *us = consume_frames(count); });
  Peer producer([&] { produce_frames(count); });
  const Broker broker = start_broker({.slots = 8,
                                      .size = kFrame,
                                      .handler = handler,
                                      .backend = "cuda",
                                      .mirror = Mirror::none,
                                      .host_readable = false,
                                      .executor = executor});
  producer.join();
  consumer.join();
  check_all_processed(broker, handler, count);
  return *us;
}

void frames(benchmark::State& state, const std::string& name, ExecutorKind executor) {
  const SourceHandler* const source = source_handler(state);
  if (source == nullptr) return;
  const std::size_t count = scaled(4000) + kSettled;
  Pairs us;
  for (auto _ : state) {
    in_turn(*source, [&](const std::string& handler, bool of_source) {
      (of_source ? us.source : us.built_in).push_back(frame_us(handler, executor, count));
    });
  }
  us.report(state, name, "us_per_frame");
  state.counters["built_in_frames_per_s"] = 1e6 / median(us.built_in);
  state.counters["source_frames_per_s"] = 1e6 / median(us.source);
}

// ---- the first message ----

constexpr std::size_t kBytes = 48;

// What a broker logs, to wait for.
class Log {
 public:
  void add(std::string_view text) {
    const std::scoped_lock lock(mutex_);
    text_ += text;
    text_ += '\n';
  }
  void await(const std::string& text) {
    const auto start = Clock::now();
    while (!has(text)) {
      if (seconds_since(start) > 60) fail("the broker does not come to log: " + text);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

 private:
  bool has(const std::string& text) {
    const std::scoped_lock lock(mutex_);
    return text_.find(text) != std::string::npos;
  }
  std::mutex mutex_;
  std::string text_;
};

// ms from the creation of the queue to the receipt of a message that its handler has inverted.
double first_message_ms(Broker& broker, Session& session, const std::string& queue, const std::string& handler) {
  const auto start = Clock::now();
  broker.create(queue, {.slots = 0, .handler = handler, .backend = "cuda", .executor = ExecutorKind::persistent});
  auto in = session.consumer(queue, {.wait = Wait::spin()});
  auto out = session.producer(queue, {.wait = Wait::spin()});
  const std::vector<std::byte> bytes(kBytes, std::byte{7});
  if (out.send(bytes) != Status::ok) fail("not sent");
  const auto message = in.receive();
  const double ms = seconds_since(start) * 1e3;
  if (!message || message->bytes().size() != kBytes || !message->processed()) fail("no first message from " + queue);
  for (const std::byte b : message->bytes()) {
    if (b != static_cast<std::byte>(255 - 7)) fail("the first message of " + queue + " was not inverted");
  }
  return ms;
}

}  // namespace

void handlers_frames(benchmark::State& state) { frames(state, "handlers/frames", ExecutorKind::persistent); }
void handlers_frames_stream(benchmark::State& state) { frames(state, "handlers/frames_stream", ExecutorKind::stream); }

void handlers_latency(benchmark::State& state) {
  const SourceHandler* const source = source_handler(state);
  if (source == nullptr) return;
  Pairs p50, p99;
  const SharedMemory<std::uint64_t> ns(scaled(40'000));
  for (auto _ : state) {
    in_turn(*source, [&](const std::string& handler, bool of_source) {
      measure_latency(handler, ExecutorKind::persistent, ~std::uint64_t{0}, ns.values());
      const auto measured = warmed_up(ns.values());
      std::vector<std::uint64_t> sorted(measured.begin(), measured.end());
      std::sort(sorted.begin(), sorted.end());
      (of_source ? p50.source : p50.built_in).push_back(quantile(sorted, 0.5) / kMicroseconds.ns);
      (of_source ? p99.source : p99.built_in).push_back(quantile(sorted, 0.99) / kMicroseconds.ns);
    });
  }
  p50.report(state, "handlers/latency", "p50_us");
  p99.report(state, "handlers/latency", "p99_us");
}

// Built-in before and after the others, in turn: what a round's queues leave behind is the same for all.
void handlers_start(benchmark::State& state) {
  const SourceHandler* const source = source_handler(state);
  if (source == nullptr) return;
  std::vector<double> built_in, quick, inlined, cached, quick_later, cached_later;
  for (auto _ : state) {
    for (unsigned round = 0; round < kRounds; ++round) {
      source->use_cache("round-" + std::to_string(round));  // not there yet
      Log log;
      Broker broker({.name = broker_name(), .log = [&log](LogLevel, std::string_view text) { log.add(text); }});
      Session session = attach();
      (void)first_message_ms(broker, session, "starts-the-runner", kBuiltIn);
      if (round % 2 == 0) built_in.push_back(first_message_ms(broker, session, "built-in", kBuiltIn));
      const auto start = Clock::now();
      quick.push_back(first_message_ms(broker, session, "quick", source->file()));
      log.await("is inlined from now on");
      inlined.push_back(seconds_since(start) * 1e3);
      cached.push_back(first_message_ms(broker, session, "cached", source->file()));
      if (round % 2 == 1) built_in.push_back(first_message_ms(broker, session, "built-in", kBuiltIn));
      quick_later.push_back(quick.back() - built_in.back());
      cached_later.push_back(cached.back() - built_in.back());
    }
  }
  state.counters["built_in_ms"] = median(built_in);
  state.counters["quick_ms"] = median(quick);
  state.counters["inlined_ms"] = median(inlined);
  state.counters["cached_ms"] = median(cached);
  report_figure(state, "handlers/start/quick", "quick_later_ms", median(quick_later));
  report_figure(state, "handlers/start/cached", "cached_later_ms", median(cached_later));
}

}  // namespace ipcq::bench
