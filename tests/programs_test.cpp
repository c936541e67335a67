// What the programs share: queue specs, configuration, the 4K pattern, lines, sequences, percentiles.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <ipcq/error.hpp>
#include <string>
#include <vector>

#include "common/broker_config.hpp"
#include "common/footprint.hpp"
#include "common/gpu_findings.hpp"
#include "common/latency_histogram.hpp"
#include "common/line_splitter.hpp"
#include "common/pattern.hpp"
#include "common/queue_spec.hpp"
#include "common/sequence_check.hpp"
#include "common/size_text.hpp"

namespace ipcq::program {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <class Function>
std::string usage_error_of(const Function& function) {
  try {
    function();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(SizeText, UnderstandsUnits) {
  EXPECT_EQ(parse_size("4k-rgb", "size"), 24883200U);
  EXPECT_EQ(parse_size("100", "size"), 100U);
  EXPECT_EQ(parse_size("100B", "size"), 100U);
  EXPECT_EQ(parse_size("4KiB", "size"), 4096U);
  EXPECT_EQ(parse_size("1.5MiB", "size"), 1572864U);
  EXPECT_EQ(parse_size("2GiB", "size"), 2147483648U);
  EXPECT_EQ(parse_size("4k", "size"), 4000U);
  EXPECT_EQ(parse_size("3M", "size"), 3000000U);
}

TEST(SizeText, RefusesWhatIsNoSize) {
  for (const char* text :
       {"", "0", "-1", "KiB", "4kib", "4 KiB", "1.5", "nan", "inf", "1e3", "4KiB,", "99999999999999999"}) {
    EXPECT_THAT(usage_error_of([&] { parse_size(text, "size"); }), HasSubstr("is no size")) << text;
  }
}

TEST(QueueSpec, TakesAllKeys) {
  const auto spec = QueueSpec::parse(
      "q=4KiB,slots=8,lines=64,handler=upper,backpressure=drop-oldest,threads=2,wait=spin,endpoints=4,held=16,backend="
      "host,"
      "group=a,group=b:lossy");
  EXPECT_EQ(spec.name(), "q");
  const QueueOptions& o = spec.options();
  EXPECT_EQ(o.slot_bytes, 4096U);
  EXPECT_EQ(o.slots, 8U);
  EXPECT_EQ(o.lines, 64U);
  EXPECT_EQ(o.handler, "upper");
  EXPECT_EQ(o.backpressure, Backpressure::drop_oldest);
  EXPECT_EQ(o.executor_threads, 2U);
  EXPECT_EQ(o.executor_wait.kind(), Wait::Kind::spin);
  EXPECT_EQ(o.max_endpoints, 4U);
  EXPECT_EQ(o.held_per_consumer, 16U);
  EXPECT_EQ(o.backend, "host");
  ASSERT_EQ(o.groups.size(), 2U);
  EXPECT_EQ(o.groups[0].name, "a");
  EXPECT_EQ(o.groups[0].policy, GroupPolicy::must);
  EXPECT_EQ(o.groups[1].name, "b");
  EXPECT_EQ(o.groups[1].policy, GroupPolicy::lossy);
}

TEST(QueueSpec, KeepsTheDefaultsOfTheLibrary) {
  const auto spec = QueueSpec::parse("frames=4k-rgb");
  EXPECT_EQ(spec.options().slot_bytes, 24883200U);
  EXPECT_EQ(spec.options().slots, QueueOptions{}.slots);
  ASSERT_EQ(spec.options().groups.size(), 1U);
  EXPECT_EQ(spec.options().groups[0].name, "default");
}

TEST(QueueSpec, InlineQueueHasNoSlots) {
  EXPECT_EQ(QueueSpec::parse("ticks=inline,lines=4096").options().slots, 0U);
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("ticks=inline,slots=3"); }), HasSubstr("given twice"));
}

TEST(QueueSpec, BackendOfTheCommandLineFillsOnlyWhatIsOpen) {
  auto open = QueueSpec::parse("a=4KiB");
  auto fixed = QueueSpec::parse("a=4KiB,backend=host");
  open.default_backend("cuda");
  fixed.default_backend("cuda");
  EXPECT_EQ(open.options().backend, "cuda");
  EXPECT_EQ(fixed.options().backend, "host");
}

TEST(QueueSpec, TakesTheKeysOfAGpu) {
  const auto spec = QueueSpec::parse("q=1MiB,backend=cuda,device=3,mirror=none,host_readable=no,executor=stream");
  const QueueOptions& o = spec.options();
  EXPECT_EQ(o.backend, "cuda");
  EXPECT_EQ(o.device, 3);
  EXPECT_EQ(o.mirror, Mirror::none);
  EXPECT_FALSE(o.host_readable);
  EXPECT_EQ(o.executor, ExecutorKind::stream);
  EXPECT_EQ(QueueSpec::parse("q=1MiB,executor=persistent").options().executor, ExecutorKind::persistent);
  EXPECT_EQ(QueueSpec::parse("q=1MiB,executor=auto").options().executor, ExecutorKind::automatic);
  EXPECT_EQ(QueueSpec::parse("q=1MiB,mirror=full,host_readable=yes").options().mirror, Mirror::full);
}

TEST(QueueSpec, RefusesKeysOfAGpuThatContradict) {
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,backend=host,device=1"); }),
              AllOf(HasSubstr("queue 'q', device"), HasSubstr("backend=host")));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,mirror=none,host_readable=yes"); }),
              HasSubstr("use mirror=full"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=pool=p,mirror=none"); }),
              HasSubstr("leave out device and mirror"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,backend=gpu"); }), HasSubstr("auto, host, cuda"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,mirror=half"); }), HasSubstr("none, full"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,host_readable=1"); }), HasSubstr("yes, no"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,executor=host"); }), HasSubstr("auto, persistent, stream"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,device=-1"); }), HasSubstr("from 0 to 1023"));
}

TEST(QueueSpec, ErrorsNameQueueKeyAndChoices) {
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("frames"); }), HasSubstr("has no name"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,slot=8"); }),
              AllOf(HasSubstr("'q'"), HasSubstr("'slot'"), HasSubstr("slots")));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,slots=0"); }), HasSubstr("from 1 to 1048576"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,slots=8,slots=9"); }), HasSubstr("given twice"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,8"); }), HasSubstr("'8' is not KEY=VALUE"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,handler=blur"); }),
              AllOf(HasSubstr("blur"), HasSubstr("invert")));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,group=a:must-not"); }), HasSubstr("no policy"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,backpressure=drop"); }), HasSubstr("drop-oldest"));
  EXPECT_THAT(usage_error_of([] { QueueSpec::parse("q=4KiB,pool=p"); }), HasSubstr("leave out size"));
}

TEST(PoolSpec, TakesSizeAndSlots) {
  const auto pool = PoolSpec::parse("shared=1MiB,slots=16");
  EXPECT_EQ(pool.name(), "shared");
  EXPECT_EQ(pool.options().slot_bytes, 1048576U);
  EXPECT_EQ(pool.options().slots, 16U);
  EXPECT_THAT(usage_error_of([] { PoolSpec::parse("shared=1MiB,lines=4"); }), HasSubstr("size, slots"));
}

TEST(PoolSpec, MayLieOnAGpu) {
  auto pool = PoolSpec::parse("shared=1MiB,slots=16,backend=cuda,device=2,mirror=none");
  EXPECT_EQ(pool.options().backend, "cuda");
  EXPECT_EQ(pool.options().device, 2);
  EXPECT_EQ(pool.options().mirror, Mirror::none);
  pool.default_backend("host");
  EXPECT_EQ(pool.options().backend, "cuda");
  EXPECT_THAT(usage_error_of([] { PoolSpec::parse("shared=1MiB,backend=host,mirror=none"); }),
              HasSubstr("pool 'shared', mirror"));
}

TEST(BrokerConfig, ReadsQueuesAndPools) {
  const auto config = parse_broker_config(R"(
name = "cameras"
group = "video"
drain_seconds = 2.5
[[pool]]
name = "frames"
size = "4k-rgb"
slots = 16
[[queue]]
name = "raw"
pool = "frames"
handler = "invert"
group = ["default", "preview:lossy"]
[[queue]]
name = "logs"
size = 4096
)",
                                          "test.toml");
  EXPECT_EQ(config.name, "cameras");
  EXPECT_EQ(config.unix_group, "video");
  EXPECT_EQ(config.drain_seconds, 2.5);
  ASSERT_EQ(config.pools.size(), 1U);
  EXPECT_EQ(config.pools[0].options().slots, 16U);
  ASSERT_EQ(config.queues.size(), 2U);
  EXPECT_EQ(config.queues[0].options().pool, "frames");
  ASSERT_EQ(config.queues[0].options().groups.size(), 2U);
  EXPECT_EQ(config.queues[0].options().groups[1].policy, GroupPolicy::lossy);
  EXPECT_EQ(config.queues[1].options().slot_bytes, 4096U);
}

TEST(BrokerConfig, ReadsTheKeysOfAGpu) {
  const auto config = parse_broker_config(R"(
[[pool]]
name = "frames"
backend = "cuda"
device = 1
mirror = "none"
[[queue]]
name = "raw"
backend = "cuda"
host_readable = false
executor = "persistent"
)",
                                          "test.toml");
  ASSERT_EQ(config.pools.size(), 1U);
  EXPECT_EQ(config.pools[0].options().device, 1);
  EXPECT_EQ(config.pools[0].options().mirror, Mirror::none);
  ASSERT_EQ(config.queues.size(), 1U);
  EXPECT_FALSE(config.queues[0].options().host_readable);
  EXPECT_EQ(config.queues[0].options().executor, ExecutorKind::persistent);
}

TEST(BrokerConfig, ErrorsNameFileAndLine) {
  const auto error_in = [](const char* text) { return usage_error_of([&] { parse_broker_config(text, "x.toml"); }); };
  EXPECT_THAT(error_in("name = \n"), HasSubstr("x.toml:1"));
  EXPECT_THAT(error_in("\nqueues = 3\n"), AllOf(HasSubstr("x.toml:2"), HasSubstr("unknown key 'queues'")));
  EXPECT_THAT(error_in("[[queue]]\nsize = 3\n"), HasSubstr("no name"));
  EXPECT_THAT(error_in("[[queue]]\nname = 'a'\nslots = 'many'\n"), AllOf(HasSubstr("x.toml:1"), HasSubstr("'many'")));
  EXPECT_THAT(error_in("[queue]\nname = 'a'\n"), HasSubstr("[[queue]]"));
  EXPECT_THAT(error_in("drain_seconds = -1\n"), HasSubstr("0 or more"));
}

TEST(BrokerConfig, EarlierSourcesWin) {
  auto flags = parse_broker_config("name = 'a'\n[[queue]]\nname = 'q'\nslots = 3\n", "1");
  flags.fill_from(parse_broker_config("name = 'b'\ngroup = 'g'\n[[queue]]\nname = 'q'\n[[queue]]\nname = 'r'\n", "2"));
  EXPECT_EQ(flags.name, "a");
  EXPECT_EQ(flags.unix_group, "g");
  ASSERT_EQ(flags.queues.size(), 2U);
  EXPECT_EQ(flags.queues[0].options().slots, 3U);
  EXPECT_EQ(flags.queues[1].name(), "r");
}

TEST(Footprint, RoundsSlotsToPagesAndAllocationsToBlocks) {
  EXPECT_EQ(host_footprint(8, 24883200).shared, 8U * 24883200);
  EXPECT_EQ(host_footprint(3, 100).shared, 3U * 128);
  EXPECT_EQ(host_footprint(3, 4097).shared, 3U * 8192);
  const Footprint bare = device_footprint(64, 24883200, Mirror::none);
  EXPECT_EQ(bare.vram, 1593835520U);  // 760 blocks of 2 MiB
  EXPECT_EQ(bare.pinned, 64U * 16);
  EXPECT_EQ(bare.shared, 0U);
  const Footprint mirrored = device_footprint(8, 24883200, Mirror::full);
  EXPECT_EQ(mirrored.pinned, 8U * 24883200 + 8 * 16);
  EXPECT_EQ(mirrored.shared, 8U * 24883200);
}

// A machine with one GPU on which all works, but for what `change` replaces.
std::vector<Finding> findings_with(const std::string& from = "", const std::string& to = "") {
  std::string probe = R"({"driver_version":13000,"driver":"580.159","toolkit":"13.0","mps":true,"memlock":-1,
    "devices":[{"index":0,"name":"NVIDIA H200","uuid":"aa","compute_capability":"9.0","memory_bytes":150000000000,
      "compute_mode":"default","supported":true,"memory_handle":"ok","host_registration":"ok",
      "stream_wait_write":"ok"}],"peers":[]})";
  if (!from.empty()) probe.replace(probe.find(from), from.size(), to);
  return gpu_findings(probe);
}

// The findings that are not ok, as "LEVEL subject: text -> remedy".
std::vector<std::string> complaints(const std::vector<Finding>& findings) {
  std::vector<std::string> lines;
  for (const auto& f : findings) {
    if (f.level == Finding::Level::ok) continue;
    lines.push_back((f.level == Finding::Level::fail ? "FAIL " : "WARN ") + f.subject + ": " + f.text + " -> " +
                    f.remedy);
  }
  return lines;
}

TEST(GpuFindings, NothingIsToBeDoneWhereAllWorks) {
  EXPECT_THAT(complaints(findings_with()), ElementsAre());
  EXPECT_EQ(findings_with().size(), 4U);  // driver, GPU, MPS, pinned memory
}

TEST(GpuFindings, EachFaultHasItsRemedy) {
  const auto only = [](const char* from, const char* to) {
    const auto lines = complaints(findings_with(from, to));
    return lines.size() == 1 ? lines[0] : std::to_string(lines.size()) + " complaints";
  };
  EXPECT_THAT(only("\"mps\":true", "\"mps\":false"),
              AllOf(HasSubstr("WARN MPS"), HasSubstr("2.4 ms"), HasSubstr("-> nvidia-cuda-mps-control -d")));
  EXPECT_THAT(only("\"memlock\":-1", "\"memlock\":8388608"),
              AllOf(HasSubstr("WARN pinned memory: limit 8.0 MiB"), HasSubstr("ulimit -l")));
  EXPECT_THAT(only("\"compute_mode\":\"default\"", "\"compute_mode\":\"prohibited\""),
              AllOf(HasSubstr("FAIL GPU 0"), HasSubstr("nvidia-smi -i 0 -c DEFAULT")));
  EXPECT_THAT(only("\"memory_handle\":\"ok\"", "\"memory_handle\":\"CUDA_ERROR_INVALID_VALUE\""),
              AllOf(HasSubstr("WARN GPU 0"), HasSubstr("INVALID_VALUE"), HasSubstr("--ipc=host")));
  EXPECT_THAT(only("\"host_registration\":\"ok\"", "\"host_registration\":\"no\""),
              AllOf(HasSubstr("FAIL GPU 0"), HasSubstr("memlock")));
  EXPECT_THAT(only("\"stream_wait_write\":\"ok\"", "\"stream_wait_write\":\"no\""), HasSubstr("update the NVIDIA"));
  EXPECT_THAT(only("\"supported\":true", "\"supported\":false"), HasSubstr("not usable"));
  EXPECT_THAT(only("\"driver_version\":13000", "\"driver_version\":12080"),
              AllOf(HasSubstr("WARN GPU driver"), HasSubstr("CUDA 12.8"), HasSubstr("update")));
  EXPECT_THAT(only("\"peers\":[]", "\"peers\":[{\"from\":1,\"to\":0,\"access\":\"no path\"}]"),
              AllOf(HasSubstr("WARN GPU 1 to 0: no path"), HasSubstr("mirror=full")));
}

TEST(GpuFindings, ExclusiveModeWorksUnderMpsOnly) {
  EXPECT_THAT(complaints(findings_with("\"default\"", "\"exclusive\"")), ElementsAre());
  std::string both =
      R"({"driver_version":13000,"mps":false,"memlock":-1,"devices":[{"index":2,"compute_mode":"exclusive"}]})";
  EXPECT_THAT(complaints(gpu_findings(both)), testing::Contains(HasSubstr("FAIL GPU 2")));
}

TEST(GpuFindings, WithoutGpuThereIsTheHostBackend) {
  EXPECT_THAT(complaints(gpu_findings(R"({"devices":[],"peers":[],"error":"no CUDA driver on this machine"})")),
              ElementsAre(AllOf(HasSubstr("WARN GPU: host backend only: no CUDA driver"), HasSubstr("nvidia-smi"))));
  EXPECT_THAT(complaints(gpu_findings("{}")), ElementsAre(HasSubstr("no GPU is visible")));
  for (const char* nonsense : {"", "segfault", "[1]", "{\"devices\":3}", "{\"devices\":[{\"index\":\"x\"}]}"}) {
    EXPECT_THAT(complaints(gpu_findings(nonsense)), ElementsAre(HasSubstr("makes sense"))) << nonsense;
  }
}

class Pattern : public testing::TestWithParam<const char*> {
 protected:
  // The frame as a queue with the handler would deliver it.
  static std::vector<std::byte> frame(std::uint64_t sequence) {
    std::vector<std::byte> bytes(Pattern4k::kFrameBytes);
    Pattern4k().generate(sequence, bytes);
    if (*GetParam() != '\0') {
      EXPECT_TRUE(find_host_handler(GetParam())(bytes.data(), bytes.size()));
    }
    return bytes;
  }
};

TEST(Pattern4k, IsTheFormulaPixelByPixel) {
  std::vector<std::byte> frame(Pattern4k::kFrameBytes);
  for (const std::uint64_t f : {std::uint64_t{0}, std::uint64_t{7}, std::uint64_t{255}, std::uint64_t{1000003}}) {
    Pattern4k().generate(f, frame);
    std::uint64_t wrong = 0;
    for (std::uint64_t y = 0; y < 2160; ++y) {
      for (std::uint64_t x = 0; x < 3840; ++x) {
        const std::byte* const pixel = &frame[(y * 3840 + x) * 3];
        wrong += pixel[0] != static_cast<std::byte>((x + f) % 256);
        wrong += pixel[1] != static_cast<std::byte>((y + f) % 256);
        wrong += pixel[2] != static_cast<std::byte>((x + y + f) % 256);
      }
    }
    EXPECT_EQ(wrong, 0U) << "frame " << f;
  }
}

TEST_P(Pattern, AcceptsTheRightFrameAndNoOther) {
  Pattern4k check(GetParam());
  const auto bytes = frame(300);
  EXPECT_EQ(check.bad_bytes(300, bytes), 0U);
  EXPECT_GT(check.bad_bytes(301, bytes), 0U);
}

TEST_P(Pattern, FindsOneFlippedBit) {
  Pattern4k check(GetParam());
  auto bytes = frame(5);
  for (const std::size_t at : {std::size_t{0}, std::size_t{767}, std::size_t{768}, Pattern4k::kRowBytes,
                               std::size_t{12345678}, Pattern4k::kFrameBytes - 1}) {
    bytes[at] ^= std::byte{1};
    EXPECT_EQ(check.bad_bytes(5, bytes), 1U) << "byte " << at;
    bytes[at] ^= std::byte{1};
  }
}

TEST_P(Pattern, CountsBytesTooFewAndTooMany) {
  Pattern4k check(GetParam());
  auto bytes = frame(5);
  EXPECT_EQ(check.bad_bytes(5, std::span(bytes).first(1000)), Pattern4k::kFrameBytes - 1000);
  EXPECT_EQ(check.bad_bytes(5, {}), Pattern4k::kFrameBytes);
  bytes.resize(Pattern4k::kFrameBytes + 3);
  EXPECT_EQ(check.bad_bytes(5, bytes), 3U);
}

INSTANTIATE_TEST_SUITE_P(Handlers, Pattern, testing::Values("", "identity", "invert", "upper", "vector_add"),
                         [](const auto& handler) {
                           return std::string(*handler.param != '\0' ? handler.param : "none");
                         });

TEST(Pattern4k, RefusesAHandlerItCannotRecompute) { EXPECT_THROW(Pattern4k("blur"), UsageError); }

// Feeds `text` in chunks of `chunk` bytes.
std::vector<std::string> split(const std::string& text, std::size_t chunk, std::size_t capacity) {
  LineSplitter splitter(capacity);
  std::vector<std::string> lines;
  const auto take = [&] {
    while (const auto line = splitter.next()) lines.emplace_back(*line);
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto space = splitter.space();
    if (space.empty()) return {"(too long)"};
    const std::size_t count = std::min({chunk, space.size(), text.size() - at});
    std::memcpy(space.data(), text.data() + at, count);
    splitter.fill(count);
    at += count;
    take();
  }
  splitter.finish();
  take();
  return lines;
}

TEST(LineSplitter, LinesMayCrossChunksAnywhere) {
  const std::string text = "one\n\ntwo two\nthree\n\n";
  for (std::size_t chunk = 1; chunk <= text.size(); ++chunk) {
    EXPECT_THAT(split(text, chunk, 16), ElementsAre("one\n", "\n", "two two\n", "three\n", "\n")) << "chunk " << chunk;
  }
}

TEST(LineSplitter, LastLineNeedsNoNewline) {
  EXPECT_THAT(split("a\nlast", 3, 16), ElementsAre("a\n", "last"));
  EXPECT_THAT(split("", 3, 16), ElementsAre());
}

TEST(LineSplitter, KeepsZeroBytes) {
  EXPECT_THAT(split(std::string("a\0b\n", 4), 2, 16), ElementsAre(std::string("a\0b\n", 4)));
}

TEST(LineSplitter, FullBufferWithoutNewlineShowsAsNoSpace) {
  EXPECT_THAT(split("0123456\n", 8, 8), ElementsAre("0123456\n"));
  EXPECT_THAT(split("012345678\n", 8, 8), ElementsAre("(too long)"));
}

TEST(SequenceCheck, FindsGapsAndRepeatsPerProducer) {
  SequenceCheck check(true);
  std::uint64_t ticket = 0;
  for (const auto& [producer, sequence] :
       std::vector<std::pair<std::uint32_t, std::uint64_t>>{{1, 0}, {2, 0}, {1, 1}, {2, 1}, {1, 4}, {2, 2}}) {
    check.see(producer, sequence, ticket++, false);
  }
  EXPECT_EQ(check.missing(), 2U);
  EXPECT_EQ(check.repeated(), 0U);
  check.see(2, 2, 5, false);
  EXPECT_EQ(check.repeated(), 1U);
}

TEST(SequenceCheck, MissedStartCountsOnlyFromTheStart) {
  SequenceCheck whole(true), joined(false);
  whole.see(1, 3, 9, false);
  joined.see(1, 3, 9, false);
  EXPECT_EQ(whole.missing(), 3U);
  EXPECT_EQ(joined.missing(), 0U);
}

TEST(SequenceCheck, ReusedProducerIdIsANewStream) {
  SequenceCheck check(true);
  check.see(1, 0, 0, false);
  check.see(1, 1, 1, false);
  check.see(1, 0, 2, false);
  check.see(1, 0, 2, false);
  EXPECT_EQ(check.missing(), 0U);
  EXPECT_EQ(check.repeated(), 1U);
}

TEST(SequenceCheck, RedeliveryFillsAGap) {
  SequenceCheck check(true);
  check.see(1, 0, 0, false);
  check.see(1, 2, 2, false);
  check.see(1, 1, 1, true);
  EXPECT_EQ(check.missing(), 0U);
  EXPECT_EQ(check.repeated(), 0U);
}

TEST(LatencyHistogram, QuantilesAreWithinTwoPercent) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.quantile_ns(0.5), 0);
  for (std::uint64_t ns = 1; ns <= 1'000'000; ++ns) histogram.record(ns);
  EXPECT_NEAR(histogram.quantile_ns(0.5), 500'000, 10'000);
  EXPECT_NEAR(histogram.quantile_ns(0.99), 990'000, 20'000);
  histogram.record(UINT64_MAX);
  EXPECT_EQ(histogram.count(), 1'000'001U);
  EXPECT_GT(histogram.quantile_ns(1), 1.8e19);
}

}  // namespace
}  // namespace ipcq::program
