// What is checked of a queue's or pool's segment before anything in it is used. Each test spoils a copy, or forges a
// header with a right checksum.
#include "queue/queue_map.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>
#include <vector>

#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/error.hpp"
#include "layout/text_field.hpp"
#include "protocol/doorbell.hpp"

namespace ipcq::detail {
namespace {

namespace fs = std::filesystem;
using ipcq_test::error_of;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

QueueOptions small() {
  QueueOptions o;
  o.lines = 4;
  o.endpoints = 2;
  o.held = 2;
  return o;
}

class MapTest : public testing::Test {
 protected:
  MapTest()
      : pool_(PoolMap::create(name_ + "-pool", "p", {.slots = 3, .size = 200}, nullptr, 11, {})),
        queue_(QueueMap::create(name_ + "-queue", "q", small(), QueueMap::Executed::none, pool_->config(), 12, {})) {}
  ~MapTest() override { fs::remove(path()); }

  std::string copy() const { return name_ + "-copy"; }
  std::string path() const { return "/dev/shm/" + copy(); }
  void make_copy(const char* kind) const {
    fs::copy_file("/dev/shm/" + name_ + "-" + kind, path(), fs::copy_options::overwrite_existing);
  }
  template <class T>
  void poke(std::uint64_t offset, const T& value) const {
    std::fstream f(path(), std::ios::binary | std::ios::in | std::ios::out);
    f.seekp(static_cast<std::streamoff>(offset));
    f.write(reinterpret_cast<const char*>(&value), sizeof value);
    ASSERT_TRUE(f.good());
  }
  void set_version(std::uint32_t version) const { poke(offsetof(SegmentHeader, version), version); }
  // A whole segment with this header, as if somebody had made it so.
  template <class Header>
  void forge(const Header& header, std::uint64_t bytes) const {
    fs::remove(path());
    Segment made = Segment::create(copy() + "-made", bytes, {});
    publish_header(made, header);
    fs::copy_file("/dev/shm/" + made.name(), path());
  }
  std::string queue_error() const {
    return error_of<LayoutError>([&] { (void)QueueMap::open(copy(), 0); });
  }
  std::string pool_error() const {
    return error_of<LayoutError>([&] { (void)PoolMap::open(copy(), 0); });
  }

  const std::string name_ = "ipcq-map-test-" + std::to_string(::getpid());
  const std::unique_ptr<PoolMap> pool_;
  const std::unique_ptr<QueueMap> queue_;
};

TEST_F(MapTest, OpensWhatWasMadeWithItsConfiguration) {
  const auto queue = QueueMap::open(queue_->segment().name(), 0);
  EXPECT_EQ(get_text(queue->config().segment.name, kNameBytes), "q");
  EXPECT_EQ(get_text(queue->config().pool, kNameBytes), "p");
  EXPECT_EQ(queue->config().lines, 4u);
  EXPECT_EQ(queue->config().segment.generation, 12u);
  EXPECT_EQ(queue->config().pool_generation, 11u);
  EXPECT_EQ(queue->held().size(), 4u);
  const auto pool = PoolMap::open(pool_->segment().name(), 0);
  EXPECT_EQ(pool->config().slots, 3u);
  EXPECT_EQ(pool->config().slot_bytes, 200u);
  EXPECT_FALSE(pool->on_device());
}

TEST_F(MapTest, AnOpenerFindsWhetherProducersPackRecords) {
  EXPECT_FALSE(QueueMap::open(queue_->segment().name(), 0)->packs_records());
  QueueOptions o = small();
  o.batch = Batch::records;
  const std::string segment = name_ + "-records";
  const auto made = QueueMap::create(segment, "r", o, QueueMap::Executed::none, pool_->config(), 13, {});
  EXPECT_TRUE(made->packs_records());
  const auto opened = QueueMap::open(segment, 0);
  EXPECT_TRUE(opened->packs_records());
  EXPECT_EQ(opened->config().segment.flags, queue_->config().segment.flags | kQueueRecords) << "and nothing else";
  EXPECT_EQ(opened->config().segment.total_bytes, queue_->config().segment.total_bytes);
}

TEST_F(MapTest, TheSameWordIsAtTheSamePlaceForBoth) {
  const auto queue = QueueMap::open(queue_->segment().name(), 0);
  const auto pool = PoolMap::open(pool_->segment().name(), 0);
  queue_->control().end_ticket.store(5, std::memory_order_relaxed);
  queue_->endpoint(1).messages.store(6, std::memory_order_relaxed);
  queue_->held()[3].ticket.store(7, std::memory_order_relaxed);
  EXPECT_EQ(queue->control().end_ticket.load(std::memory_order_relaxed), 5u);
  EXPECT_EQ(queue->endpoint(1).messages.load(std::memory_order_relaxed), 6u);
  EXPECT_EQ(queue->held()[3].ticket.load(std::memory_order_relaxed), 7u);
  pool_->gpub(2).store(8, std::memory_order_relaxed);
  pool_->tomb(2).store(9, std::memory_order_relaxed);
  pool_->payload(2)[199] = std::byte{10};
  EXPECT_EQ(pool->gpub(2).load(std::memory_order_relaxed), 8u);
  EXPECT_EQ(pool->tomb(2).load(std::memory_order_relaxed), 9u);
  EXPECT_EQ(pool->payload(2)[199], std::byte{10});
}

TEST_F(MapTest, AnotherVersionIsToldApart) {
  for (const char* const kind : {"queue", "pool"}) {
    make_copy(kind);
    set_version(kAbiVersion + 1);
    EXPECT_THAT(*kind == 'q' ? queue_error() : pool_error(),
                AllOf(HasSubstr(copy()), HasSubstr("wrong version"), HasSubstr("ABI 3"), HasSubstr("ABI 2")));
  }
}

TEST_F(MapTest, OneThatIsNotReadyIsWaitedForUntilTheDeadline) {
  make_copy("queue");
  set_version(0);
  EXPECT_THAT(queue_error(), HasSubstr("not ready"));
  const std::uint64_t deadline = now_ns() + 20'000'000;
  EXPECT_THAT(error_of<LayoutError>([&] { (void)QueueMap::open(copy(), deadline); }), HasSubstr("not ready"));
  EXPECT_GE(now_ns(), deadline);
  std::thread maker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    set_version(kAbiVersion);
  });
  EXPECT_NO_THROW((void)QueueMap::open(copy(), deadline_after(ipcq_test::kBound)));
  maker.join();
}

TEST_F(MapTest, OneKindIsNotTakenForTheOther) {
  make_copy("pool");
  EXPECT_THAT(queue_error(), AllOf(HasSubstr("damaged"), HasSubstr("magic")));
  make_copy("queue");
  EXPECT_THAT(pool_error(), AllOf(HasSubstr("damaged"), HasSubstr("magic")));
}

TEST_F(MapTest, ATruncatedOrGrownOneIsDamaged) {
  for (const char* const kind : {"queue", "pool"}) {
    make_copy(kind);
    const auto size = fs::file_size(path());
    for (const auto bytes : {size + 1, size + 4096, size - 1, size - 4096, std::uintmax_t{kHeaderBytes}}) {
      fs::resize_file(path(), bytes);
      EXPECT_THAT(*kind == 'q' ? queue_error() : pool_error(),
                  AllOf(HasSubstr("damaged"), HasSubstr("its header says")))
          << kind << " " << bytes;
    }
    for (const auto bytes : {kHeaderBytes - 1, std::uint64_t{8}, std::uint64_t{0}}) {  // as one that is being made
      fs::resize_file(path(), bytes);
      EXPECT_THAT(*kind == 'q' ? queue_error() : pool_error(), HasSubstr("not ready")) << kind << " " << bytes;
    }
  }
}

TEST_F(MapTest, AnyBitOfAHeaderThatFlipsIsNoticed) {
  const auto flip_each = [&](const char* kind, std::size_t bytes, const std::function<std::string()>& error) {
    make_copy(kind);
    std::vector<char> header(bytes);
    std::ifstream(path(), std::ios::binary).read(header.data(), static_cast<std::streamsize>(bytes));
    for (std::size_t at = 0; at < bytes; ++at) {
      poke(at, static_cast<char>(header[at] ^ (1 << at % 8)));
      const bool is_version = at / 4 == offsetof(SegmentHeader, version) / 4;
      EXPECT_THAT(error(), is_version
                               ? testing::Matcher<std::string>(AnyOf(HasSubstr("version"), HasSubstr("not ready")))
                               : testing::Matcher<std::string>(HasSubstr("damaged")))
          << kind << " byte " << at;
      poke(at, header[at]);
    }
  };
  flip_each("queue", sizeof(QueueHeader), [&] { return queue_error(); });
  EXPECT_NO_THROW((void)QueueMap::open(copy(), 0));
  flip_each("pool", sizeof(PoolHeader), [&] { return pool_error(); });
  EXPECT_NO_THROW((void)PoolMap::open(copy(), 0));
}

TEST_F(MapTest, CountsOfAQueueThatCannotBeAreDamaged) {
  const std::function<void(QueueHeader&)> edits[] = {
      [](auto& h) { h.lines = 0; },
      [](auto& h) { h.lines = 5; },
      [](auto& h) { h.lines = 1u << 25; },
      [](auto& h) { h.lines *= 1024; },
      [](auto& h) { h.endpoints = kMaxEndpoints + 1; },
      [](auto& h) { h.endpoints += 64; },
      [](auto& h) { h.held_per_endpoint = 0xffffffff; },
      [](auto& h) { h.held_per_endpoint += 64; },
      [](auto& h) { h.segment.flags ^= kQueueHasHandler; },  // lines of its own that are not there
      [](auto& h) { h.control_offset = 0; },
      [](auto& h) { h.endpoints_offset += 4096; },
      [](auto& h) { h.own_offset -= 8; },
      [](auto& h) { h.in_offset = ~std::uint64_t{0} - 7; },
      [](auto& h) { h.out_offset = 0; },
      [](auto& h) { h.held_offset += 8; }};
  for (std::size_t i = 0; i < std::size(edits); ++i) {
    QueueHeader h = queue_->config();
    edits[i](h);
    forge(h, queue_->segment().size());
    EXPECT_THAT(queue_error(), HasSubstr("contradict each other")) << "edit " << i;
  }
  forge(queue_->config(), queue_->segment().size());
  EXPECT_NO_THROW((void)QueueMap::open(copy(), 0));
}

TEST_F(MapTest, CountsOfAPoolThatCannotBeAreDamaged) {
  const std::function<void(PoolHeader&)> edits[] = {
      [](auto& h) { h.slots = 0xffffffff; },
      [](auto& h) { h.slots += 64; },
      [](auto& h) { h.aliases = 0xffffffff; },
      [](auto& h) { h.aliases += 1024; },
      [](auto& h) { h.alias_base = 0; },
      [](auto& h) { h.slot_bytes = ~std::uint64_t{0}; },
      [](auto& h) { h.slot_bytes += 128; },
      [](auto& h) { h.slot_stride = 0; },
      [](auto& h) { h.control_offset = 0; },
      [](auto& h) { h.free_bits_offset += 8; },
      [](auto& h) { h.slots_offset += 4096; },
      [](auto& h) { h.parents_offset = 0; },
      [](auto& h) { h.gpub_offset += 8; },
      [](auto& h) { h.tomb_offset -= 4096; },
      [](auto& h) { h.payload_offset = ~std::uint64_t{0} - 7; },
      [](auto& h) { h.payload_bytes += 1; },
      [](auto& h) { h.metadata_bytes = 1; },
      [](auto& h) { h.metadata_bytes = 5000; },
      [](auto& h) { h.metadata_offset += 4096; },
      [](auto& h) { h.backend = static_cast<std::uint32_t>(PoolBackend::cuda); }};  // whose payloads are not here
  for (std::size_t i = 0; i < std::size(edits); ++i) {
    PoolHeader h = pool_->config();
    edits[i](h);
    forge(h, pool_->segment().size());
    EXPECT_THAT(pool_error(), HasSubstr("contradict each other")) << "edit " << i;
  }
  forge(pool_->config(), pool_->segment().size());
  EXPECT_NO_THROW((void)PoolMap::open(copy(), 0));
}

// Offsets and sizes agree with these counts; nobody could work with them. A queue without held entries has its words
// for them behind its end.
TEST_F(MapTest, CountsThatNoMakerTakesAreDamaged) {
  const std::function<void(QueueHeader&)> queues[] = {
      [](auto& h) { h.lines = 1; },
      [](auto& h) {
        h.held_per_endpoint = 0;
        h.segment.total_bytes = h.held_offset;
      },
      [](auto& h) {
        h.endpoints = 0;
        for (auto* const offset : {&h.own_offset, &h.in_offset, &h.out_offset, &h.held_offset}) *offset -= kHeaderBytes;
        h.segment.total_bytes = h.held_offset;
      },
      [](auto& h) { h.backpressure = 3; }};
  for (std::size_t i = 0; i < std::size(queues); ++i) {
    QueueHeader h = queue_->config();
    queues[i](h);
    forge(h, h.segment.total_bytes);
    EXPECT_THAT(queue_error(), HasSubstr("damaged")) << "queue " << i;
  }
  const std::function<void(PoolHeader&)> pools[] = {[](auto& h) { h.slot_bytes = h.slot_stride = 0; },
                                                    [](auto& h) { h.backend = 2; }};
  for (std::size_t i = 0; i < std::size(pools); ++i) {
    PoolHeader h = pool_->config();
    pools[i](h);
    h.payload_bytes = 0;
    h.segment.total_bytes = h.payload_offset;
    forge(h, h.segment.total_bytes);
    EXPECT_THAT(pool_error(), HasSubstr("damaged")) << "pool " << i;
  }
}

// Whoever maps a segment uses its own copy of the header.
TEST_F(MapTest, WhatIsWrittenIntoTheHeaderLaterChangesNothing) {
  const auto queue = QueueMap::open(queue_->segment().name(), 0);
  auto* const shared = reinterpret_cast<QueueHeader*>(queue_->segment().data());
  shared->lines = 1u << 20;
  shared->held_per_endpoint = 1u << 20;
  EXPECT_EQ(queue->config().lines, 4u);
  EXPECT_EQ(queue->ring().lines(), 4u);
  EXPECT_EQ(queue->held().size(), 4u);
  EXPECT_EQ(queue_->held().size(), 4u);
}

TEST_F(MapTest, ADescriptorIsSoundWhenThePoolHasWhatItNames) {
  Descriptor d;
  d.kind = LineKind::slot;
  d.slot = 2;
  d.length = 200;
  EXPECT_TRUE(is_sound(d, *queue_, *pool_));
  const auto with = [&](auto edit) {
    Descriptor e = d;
    edit(e);
    return is_sound(e, *queue_, *pool_);
  };
  EXPECT_FALSE(with([](auto& e) { e.slot = 3; }));
  EXPECT_FALSE(with([](auto& e) { e.length = 201; }));
  EXPECT_FALSE(with([](auto& e) { e.alias = 0; }));  // a payload slot is none
  EXPECT_TRUE(with([&](auto& e) { e.alias = pool_->config().alias_base; }));
  EXPECT_FALSE(with([&](auto& e) { e.alias = pool_->config().alias_base + pool_->config().aliases; }));
  EXPECT_FALSE(with([](auto& e) { e.kind = LineKind::tombstone; }));
  EXPECT_TRUE(with([](auto& e) { e.kind = LineKind::inlined, e.length = 96, e.slot = 99; }));
  EXPECT_FALSE(with([](auto& e) { e.kind = LineKind::inlined, e.length = 97; }));
  EXPECT_TRUE(with([](auto& e) { e.flags = kPayloadReady | kRecords; }));
  EXPECT_FALSE(with([](auto& e) { e.kind = LineKind::inlined, e.length = 90, e.flags = kPayloadReady | kRecords; }));
}

TEST_F(MapTest, APayloadIsWrittenOrBuriedByItsLease) {
  Descriptor d;
  d.kind = LineKind::slot;
  d.slot = 1;
  d.lease = 5;
  pool_->gpub(1).store(4, std::memory_order_relaxed);
  pool_->tomb(1).store(4, std::memory_order_relaxed);
  EXPECT_FALSE(is_written(d, *pool_));
  EXPECT_FALSE(is_buried(d, *pool_));
  pool_->gpub(1).store(5, std::memory_order_relaxed);
  EXPECT_TRUE(is_written(d, *pool_));
  pool_->tomb(1).store(6, std::memory_order_relaxed);  // of a later lease
  EXPECT_TRUE(is_buried(d, *pool_));
  pool_->gpub(1).store(0, std::memory_order_relaxed);
  d.flags = kPayloadReady;
  EXPECT_TRUE(is_written(d, *pool_));
}

TEST_F(MapTest, ProcessedLinesWakeTheGroupsThatAreThereAndTheProducers) {
  auto& control = queue_->control();
  Doorbell* const rung[] = {&control.ready[0], &control.space, &pool_->control().free};
  Doorbell* const others[] = {&control.ready[1], &control.work, &control.completion_waker};
  for (auto* bell : rung) arm(*bell, bell->sequence.load(std::memory_order_relaxed));
  for (auto* bell : others) arm(*bell, bell->sequence.load(std::memory_order_relaxed));
  wake_after_processing(*queue_, *pool_);
  EXPECT_THAT(rung, testing::Each(testing::ResultOf([](auto* bell) { return is_armed(*bell); }, false)));
  EXPECT_THAT(others, testing::Each(testing::ResultOf([](auto* bell) { return is_armed(*bell); }, true)));
}

}  // namespace
}  // namespace ipcq::detail
