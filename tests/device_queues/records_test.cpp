// Record batches through the kernels of both executors: what they make of each record is what the host makes of it.
// Batches are written by hand, as a producer writes them, and read where the executor leaves them.
#include <gmock/gmock.h>

#include <cstring>
#include <tuple>

#include "device_queues/gpu_test.hpp"
#include "ipcq/builtin_handlers.hpp"
#include "layout/handle_records.hpp"
#include "protocol/doorbell.hpp"
#include "queue/queue_map.hpp"
#include "record_batch.hpp"

namespace ipcq_test {
namespace {

using detail::kInMirror;
using detail::kPayloadReady;
using detail::kRecords;

constexpr unsigned kFlags = kPayloadReady | kInMirror | kRecords;

class RecordsOnGpu : public GpuTest {
 protected:
  void open(const char* handler, ExecutorKind executor) {
    QueueOptions o = on_gpu(handler, executor);
    o.slots = 2;  // each serves many batches
    o.size = 512 * 1024;
    o.lines = 64;
    broker_->create("q", o);
    map_ = detail::QueueMap::open(segment("queue"), detail::deadline_after(kBound));
    pool_ = detail::PoolMap::open(segment("pool"), detail::deadline_after(kBound));
    producer_.emplace(session_->producer("q"));
  }
  void TearDown() override {
    producer_.reset();
    pool_.reset();
    map_.reset();
    GpuTest::TearDown();
  }

  // What the executor makes of the batch.
  RecordBatch process(RecordBatch batch) {
    std::uint64_t limit = 0;
    const detail::PublishClaim c = map_->ring().claim_publish(producer_->id(), 1, limit);
    EXPECT_EQ(c.outcome, detail::ClaimOutcome::ok);
    detail::Descriptor d;
    d.kind = detail::LineKind::slot;
    d.flags = static_cast<std::uint8_t>(kFlags);
    d.slot = static_cast<std::uint32_t>(c.ticket % pool_->config().slots);
    d.lease = c.ticket + 1;
    d.length = static_cast<std::uint32_t>(batch.size());
    EXPECT_LE(batch.size(), pool_->config().slot_bytes);
    std::memcpy(pool_->payload(d.slot), batch.data(), batch.size());
    map_->ring().write(c.ticket, d, nullptr);
    detail::publisher_fence();
    detail::ring(map_->control().work);
    detail::ring(map_->control().completion_waker);
    detail::Descriptor out;
    detail::InlineData none{};
    EXPECT_TRUE(eventually([&] { return map_->ring().read(c.ticket, out, none.bytes) == detail::LineRead::present; }));
    EXPECT_EQ(out.kind, detail::LineKind::slot);
    EXPECT_EQ(unsigned{out.flags}, kFlags) << "of a batch the records tell what was refused";
    EXPECT_EQ(out.length, d.length);
    std::memcpy(batch.data(), pool_->payload(d.slot), batch.size());
    return batch;
  }
  // Bounded: the counters come a while after the lines.
  bool counts(std::uint64_t processed, std::uint64_t failed) const {
    const auto& control = map_->control();
    return eventually([&] { return control.processed.load(std::memory_order_acquire) == processed; }) &&
           eventually([&] { return control.failed.load(std::memory_order_acquire) == failed; });
  }

  std::unique_ptr<detail::QueueMap> map_;
  std::unique_ptr<detail::PoolMap> pool_;
  std::optional<Producer> producer_;
};

// Letters, or numbers that add without rounding and NaNs.
std::string content(std::size_t bytes, std::size_t seed, bool numbers) {
  std::string out(bytes, ' ');
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<char>('A' + (i * 7 + seed) % 64);
  for (std::size_t i = 0; numbers && i + sizeof(float) <= bytes; i += sizeof(float)) {
    const float f = static_cast<float>((i * 7 + seed * 13) % 100'000) * 0.25f - 1000.0f;
    std::memcpy(out.data() + i, &f, sizeof f);
  }
  return out;
}

// `count` records, of these lengths in turn.
RecordBatch batch_of(std::size_t count, const std::vector<std::size_t>& lengths, bool numbers) {
  std::vector<std::string> records;
  for (std::size_t n = 0; n < count; ++n) records.push_back(content(lengths[n % lengths.size()], n, numbers));
  return RecordBatch(records);
}

// Each batch that has more bytes than kSplitBytes is shared by several blocks.
struct Kind {
  const char* what;
  std::size_t count;
  std::vector<std::size_t> lengths;
};
const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"one record", 1, {40}},
      {"empty records", 9, {0}},
      {"mixed lengths", 32, {0, 1, 7, 8, 15, 16, 17, 64, 72, 300, 1000, 4096}},
      {"more short records than lanes", 700, {8, 24, 13}},
      {"one long among short ones", 200, {8, 16, 8, 16, 8, 16, 8, 20'000}},
      {"short records for all blocks", 4096, {16, 64, 40, 33}},
      {"long records for all blocks", 7, {40'000, 65'536, 8}},
      {"one record for all blocks", 1, {400'000}},
  };
  return all;
}

class RecordResults : public RecordsOnGpu, public testing::WithParamInterface<std::tuple<ExecutorKind, const char*>> {};
INSTANTIATE_TEST_SUITE_P(, RecordResults,
                         testing::Combine(testing::Values(ExecutorKind::persistent, ExecutorKind::stream),
                                          testing::Values("identity", "invert", "upper", "vector_add")),
                         [](const auto& info_) {
                           return std::string(name_of(std::get<0>(info_.param))) + "_" + std::get<1>(info_.param);
                         });

TEST_P(RecordResults, AreThoseOfTheHost) {
  const auto [executor, handler] = GetParam();
  open(handler, executor);
  const HostHandler reference = find_host_handler(handler);
  std::uint64_t failed = 0, processed = 0;
  for (const Kind& kind : kinds()) {
    const RecordBatch sent = batch_of(kind.count, kind.lengths, handler == std::string("vector_add"));
    RecordBatch expected = sent;
    failed += detail::handle_records(
        expected.data(), expected.size(), detail::Team(),
        [&](std::byte* data, std::uint64_t length, const detail::Team&) { return reference(data, length); });
    EXPECT_TRUE(process(sent).bytes() == expected.bytes()) << kind.what;
    ASSERT_TRUE(counts(++processed, failed)) << kind.what;
  }
  EXPECT_EQ(failed != 0, handler == std::string("vector_add"));
}

class RecordsPerExecutor : public RecordsOnGpu, public testing::WithParamInterface<ExecutorKind> {};
INSTANTIATE_TEST_SUITE_P(, RecordsPerExecutor, testing::Values(ExecutorKind::persistent, ExecutorKind::stream),
                         [](const auto& info_) { return name_of(info_.param); });

TEST_P(RecordsPerExecutor, RefusedRecordsAreMarkedAndTheirBatchCountsOnce) {
  open("vector_add", GetParam());
  std::uint64_t batches = 0;
  for (const std::size_t count : {std::size_t{6}, std::size_t{3000}}) {  // one block, all blocks
    const RecordBatch sent = batch_of(count, {8, 7, 40}, true);
    const RecordBatch b = process(sent);
    EXPECT_EQ(b.head().refused, 1u);
    for (std::uint32_t i = 0; i < count; ++i) {
      ASSERT_EQ(b.is_refused(i), i % 3 == 1) << i;
      ASSERT_EQ(b.text(i) == sent.text(i), i % 3 == 1) << i;
    }
    ++batches;
    ASSERT_TRUE(counts(batches, batches)) << count;
  }
  RecordBatch marked = batch_of(4, {8}, true);
  marked.set_word(2, marked.word(2) | Records::kRefused);  // by its producer
  const RecordBatch b = process(marked);
  EXPECT_EQ(b.head().refused, 0u);
  EXPECT_FALSE(b.is_refused(2));
  ASSERT_TRUE(counts(batches + 1, batches));
}

TEST_P(RecordsPerExecutor, ABatchWhoseHeadMakesNoSensePassesUnchanged) {
  open("vector_add", GetParam());
  std::uint64_t batches = 0;
  for (const std::size_t count : {std::size_t{6}, std::size_t{3000}}) {
    RecordBatch b = batch_of(count, {8, 7, 40}, true);
    const RecordsHead head = b.head();
    for (const RecordsHead& bad :
         {RecordsHead{0, head.index_at, 1, 0}, RecordsHead{head.count + 1, head.index_at, 1, 0},
          RecordsHead{head.count, head.index_at + 4, 0, 0}, RecordsHead{head.count, 0, 0, 0},
          RecordsHead{0xffffffff, 0xfffffff0, 0xffffffff, 0}}) {
      b.set_head(bad);
      EXPECT_TRUE(process(b).bytes() == b.bytes()) << bad.count << " at " << bad.index_at;
      ASSERT_TRUE(counts(++batches, 0));
    }
  }
}

TEST_P(RecordsPerExecutor, RecordsWhoseWordsMakeNoSenseAreLeftAndTheOthersAreNot) {
  open("invert", GetParam());
  for (const std::size_t count : {std::size_t{6}, std::size_t{3000}}) {
    for (const std::uint32_t bad : {0u, 0x7fffffffu, 0xffffffffu}) {
      RecordBatch sent = batch_of(count, {40}, false);
      sent.set_word(1, bad);  // where neither record 1 ends nor record 2 begins
      const RecordBatch b = process(sent);
      EXPECT_EQ(b.word(1), bad);
      EXPECT_EQ(b.head().refused, 0u);
      RecordBatch before = sent, after = b;  // with the right word, to see the bytes of all
      before.set_word(1, sent.word(0) + 48);
      after.set_word(1, sent.word(0) + 48);
      for (std::uint32_t i = 0; i < count; ++i) ASSERT_EQ(after.text(i) == before.text(i), i == 1 || i == 2) << i;
    }
  }
}

}  // namespace
}  // namespace ipcq_test
