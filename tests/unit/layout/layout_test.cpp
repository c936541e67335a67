// The bytes of shared memory, written out once more from docs/design/layout.md: what a former release wrote is read by
// the next one only as long as these stay. Sizes and offsets of structs are asserted where they stand.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>

#include "layout/held.hpp"
#include "layout/regions.hpp"
#include "layout/slot_metadata.hpp"
#include "layout/words.hpp"

namespace ipcq::detail {
namespace {

template <class T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

TEST(Layout, MagicNumbersAreReadableInADump) {
  EXPECT_EQ(bytes_of(kQueueMagic), "IPCQEUE1");
  EXPECT_EQ(bytes_of(kPoolMagic), "IPCQOOL1");
  EXPECT_EQ(bytes_of(kControlMagic), "IPCQ");
  EXPECT_EQ(bytes_of(kRunnerMagic), "IPCR");
}

TEST(Layout, EachFieldOfAPackedWordHasItsBits) {
  constexpr std::uint32_t kClient = 0x2abcde;
  EXPECT_EQ(pack(Cursor{5, kClient, 0xbeef, 0xa5, true}), (Pair{5, 0x0000696fbbeabcde}));
  EXPECT_EQ(pack(Cursor{5, 0, 0, 0, false, true}).hi, 0x0000800000000000);
  EXPECT_EQ(pack(Cursor{5, 0, 0, 0, false, false, true}).hi, 0x0001000000000000);
  EXPECT_EQ(pack(Cursor{5, 0, 0, 0, false, false, false, 0x55e6}).hi, 0xabcc000000000000);
  EXPECT_EQ(pack_own(0x123456789a, OwnState::done, kClient), 0x123456789aaabcde);
  EXPECT_EQ(pack(Slot{7, kClient, SlotState::message, 0xa5, 0xdeadbeef}), (Pair{7, 0xdeadbeefa5aabcde}));
  EXPECT_EQ(pack_parent(0xdeadbeef, 6), 0x00000006deadbeef);
  EXPECT_EQ(pack(HeldWord{HeldState::releasing, kClient, 5, 0xbeef}), 0x000005f77deabcde);
  EXPECT_EQ(kOneGivenBack, 0x0000000100000000);
  EXPECT_EQ(found_none(0x0000000700000003), 0x0000000700000007);
}

class LineBytes : public testing::Test {
 protected:
  static constexpr std::uint64_t kLap = (std::uint64_t{5} << 32) + 7;  // its low half is the tag
  using Words = std::array<std::uint64_t, 16>;

  LineBytes() {
    d.flags = kPayloadReady;
    d.priority = 9;
    d.producer = 0x11223344;
    d.schema = 0x55667788;
    d.sequence = 0x0102030405060708;
  }
  Words written(const std::byte* data = nullptr) {
    Line line{};
    write_line(line.unit, kLap, d, data);
    Words words;
    std::memcpy(words.data(), &line, sizeof line);
    return words;
  }

  Descriptor d;
};

TEST_F(LineBytes, OfAnInlineMessage) {
  d.kind = LineKind::inlined;
  d.length = 13;
  std::array<std::byte, 13> data;
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i + 1);
  EXPECT_EQ(written(data.data()), (Words{0x0000000d02090101, 0x0000000711223344,  //
                                         0x0102030405060708, 0x0000000755667788,  //
                                         0x0807060504030201, 0x000000070c0b0a09,  //
                                         0x000000000000000d, 0x0000000700000000}));
}

TEST_F(LineBytes, OfAMessageInASlot) {
  d.kind = LineKind::slot;
  d.length = 0x80000001;
  d.lease = 0x1111111111111111;
  d.slot = 0x22222222;
  d.alias_lease = 0x3333333333333333;
  d.alias = 0x44444444;
  d.published_at_ns = 0x5555555555555555;
  EXPECT_EQ(written(), (Words{0x8000000102090102, 0x0000000711223344,  //
                              0x0102030405060708, 0x0000000755667788,  //
                              0x1111111111111111, 0x0000000722222222,  //
                              0x3333333333333333, 0x0000000744444444,  //
                              0x5555555555555555, 0x0000000700000000}));
  StoredDescriptorOf<SharedAtomics> stored{};
  stored.store(d);
  std::array<std::uint64_t, 7> words;
  std::memcpy(words.data(), &stored, sizeof stored);
  EXPECT_EQ(words, (std::array<std::uint64_t, 7>{0x8000000102090102, 0x5566778811223344, 0x0102030405060708,
                                                 0x1111111111111111, 0x4444444422222222, 0x3333333333333333,
                                                 0x5555555555555555}));
}

TEST_F(LineBytes, OfATombstoneAndAControlLine) {
  d = {};
  d.kind = LineKind::tombstone;
  EXPECT_EQ(written()[0], 0x0000000002000003);
  d.kind = LineKind::control;
  d.sequence = static_cast<std::uint64_t>(ControlOp::switch_to_stream);
  EXPECT_EQ(written()[0], 0x0000000002000004);
  EXPECT_EQ(written()[2], 2u);
}

TEST(Regions, OfAPoolFollowFromItsCounts) {
  PoolHeader h{};
  h.slots = 70;
  h.aliases = 560;
  h.slot_bytes = 100;
  lay_out(h);
  EXPECT_EQ(h.alias_base, 128u);
  EXPECT_EQ(h.slot_stride, 128u);
  EXPECT_EQ(h.control_offset, 4096u);
  EXPECT_EQ(h.free_bits_offset, 8192u);
  EXPECT_EQ(h.slots_offset, 12288u);
  EXPECT_EQ(h.parents_offset, 24576u);
  EXPECT_EQ(h.gpub_offset, 36864u);
  EXPECT_EQ(h.tomb_offset, 40960u);
  EXPECT_EQ(h.payload_offset, 45056u);
  EXPECT_EQ(h.payload_bytes, 8960u);
  EXPECT_EQ(h.segment.total_bytes, 57344u);
}

TEST(Regions, MetadataOfSlotsLieBeforeWhatAGpuPins) {
  PoolHeader h{};
  h.slots = 70;
  h.slot_bytes = 100;
  lay_out(h);
  EXPECT_EQ(h.metadata_offset, h.gpub_offset);
  for (const auto& [bytes, stride] : {std::pair{1u, 64u}, {48u, 64u}, {49u, 128u}, {4096u, 4160u}}) {
    h.metadata_bytes = bytes;
    lay_out(h);
    EXPECT_EQ(metadata_stride(bytes), stride);
    EXPECT_EQ(h.gpub_offset - h.metadata_offset, (70 * stride + 4095) / 4096 * 4096);
  }
}

TEST(Regions, SlotsOfAPageOrMoreBeginOnPages) {
  PoolHeader h{};
  for (const auto& [bytes, stride] :
       {std::pair{1u, 128u}, {128u, 128u}, {4095u, 4096u}, {4096u, 4096u}, {4097u, 8192u}}) {
    h.slot_bytes = bytes;
    lay_out(h);
    EXPECT_EQ(h.slot_stride, stride) << bytes;
  }
}

TEST(Regions, ADevicePoolWithoutMirrorHasNoPayloadInItsSegment) {
  PoolHeader h{};
  h.slots = 70;
  h.aliases = 560;
  h.slot_bytes = 100;
  h.backend = static_cast<std::uint32_t>(PoolBackend::cuda);
  lay_out(h);
  EXPECT_EQ(h.payload_bytes, 0u);
  EXPECT_EQ(h.segment.total_bytes, 45056u);
  h.mirror = 1;
  lay_out(h);
  EXPECT_EQ(h.payload_bytes, 8960u);
}

TEST(Regions, OfAQueueFollowFromItsCounts) {
  QueueHeader h{};
  h.lines = 1024;
  h.line_bytes = 128;
  h.endpoints = 3;
  h.held_per_endpoint = 5;
  h.segment.flags = kQueueHasHandler;
  lay_out(h);
  EXPECT_EQ(h.control_offset, 4096u);
  EXPECT_EQ(h.endpoints_offset, 8192u);
  EXPECT_EQ(h.own_offset, 12288u);
  EXPECT_EQ(h.in_offset, 86016u);
  EXPECT_EQ(h.out_offset, 217088u);
  EXPECT_EQ(h.held_offset, 348160u);
  EXPECT_EQ(h.schemas_offset, 352256u);
  EXPECT_EQ(h.segment.total_bytes, 360448u);
  h.segment.flags = 0;  // a direct queue
  lay_out(h);
  EXPECT_EQ(h.out_offset, h.in_offset);
  EXPECT_EQ(h.held_offset, 217088u);
  EXPECT_EQ(h.segment.total_bytes, 229376u);
  EXPECT_EQ(h.inline_bytes, 72u);
}

TEST(Regions, OfPlainLinesFollowFromTheirSize) {
  QueueHeader h{};
  h.lines = 8;
  h.endpoints = 2;
  h.held_per_endpoint = 4;
  h.segment.flags = kQueuePlainLines | kQueueHasHandler;
  struct {
    std::uint32_t line, inline_bytes, held;
  } const sizes[] = {{64, 32, 128}, {128, 96, 192}, {320, 288, 384}, {1088, 1056, 1152}, {2048, 2016, 2112}};
  for (const auto& s : sizes) {
    h.line_bytes = s.line;
    lay_out(h);
    EXPECT_EQ(h.inline_bytes, s.inline_bytes);
    EXPECT_EQ(held_bytes(h.inline_bytes), s.held);
    const auto pages = [](std::uint64_t bytes) { return (bytes + 4095) / 4096 * 4096; };
    EXPECT_EQ(h.out_offset - h.in_offset, pages(8 * s.line));
    EXPECT_EQ(h.held_offset - h.out_offset, pages(8 * s.line));
    EXPECT_EQ(h.segment.total_bytes - h.held_offset, pages(8 * s.held) + 8192);
  }
}

TEST(Regions, CountsBeyondTheirLimitsAreRefused) {
  QueueHeader q{};
  q.lines = kMaxLines;
  q.line_bytes = sizeof(Line);
  q.endpoints = kMaxEndpoints;
  q.held_per_endpoint = kMaxHeld;
  EXPECT_TRUE(has_possible_counts(q));
  for (auto change : {+[](QueueHeader& h) { h.lines = 3; }, +[](QueueHeader& h) { h.lines *= 2; },
                      +[](QueueHeader& h) { ++h.endpoints; }, +[](QueueHeader& h) { ++h.held_per_endpoint; },
                      +[](QueueHeader& h) { h.line_bytes *= 2; }}) {
    QueueHeader h = q;
    change(h);
    EXPECT_FALSE(has_possible_counts(h));
  }
  q.segment.flags = kQueuePlainLines;
  for (const std::uint32_t bytes : {64u, 128u, 192u, 2048u}) {
    q.line_bytes = bytes;
    EXPECT_TRUE(has_possible_counts(q)) << bytes;
  }
  for (const std::uint32_t bytes : {0u, 32u, 96u, 2049u, 2112u, ~0u - 63}) {
    q.line_bytes = bytes;
    EXPECT_FALSE(has_possible_counts(q)) << bytes;
  }
  q.line_bytes = 128;
  q.segment.flags |= kQueueHasHandler | kQueueOnDevice;
  EXPECT_FALSE(has_possible_counts(q)) << "device code reads tagged lines";
  PoolHeader p{};
  p.slots = p.aliases = kMaxSlots;
  p.slot_bytes = kMaxSlotBytes;
  p.metadata_bytes = kMostMetadataBytes;
  EXPECT_TRUE(has_possible_counts(p));
  for (auto change : {+[](PoolHeader& h) { ++h.slots; }, +[](PoolHeader& h) { ++h.aliases; },
                      +[](PoolHeader& h) { ++h.slot_bytes; }, +[](PoolHeader& h) { ++h.metadata_bytes; }}) {
    PoolHeader h = p;
    change(h);
    EXPECT_FALSE(has_possible_counts(h));
  }
}

}  // namespace
}  // namespace ipcq::detail
