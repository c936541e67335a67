#include "layout/line.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <random>

#include "unit/layout/descriptors.hpp"

namespace ipcq::detail {
namespace {

class LineTest : public testing::Test {
 protected:
  Descriptor d;
  InlineData data{};
  std::array<std::byte, kInlineBytes> payload{};
  Line line{};

  void SetUp() override {
    for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<std::byte>(i * 7 + 1);
  }
  LineRead read(std::uint64_t lap) { return read_line(line.unit, lap, d, data.bytes, false); }
};

TEST_F(LineTest, CarriesEveryInlineLengthFrom0To72) {
  for (std::uint32_t length = 0; length <= kInlineBytes; ++length) {
    write_line(line.unit, length + 1, inlined(length), payload.data());
    data = {};
    ASSERT_EQ(read(length + 1), LineRead::present) << length;
    EXPECT_EQ(d.length, length);
    EXPECT_EQ(std::memcmp(data.bytes, payload.data(), length), 0) << length;
    EXPECT_EQ(d.producer, 0x2abcdeu);
    EXPECT_EQ(d.sequence, 0x1122334455667788u);
    EXPECT_EQ(d.schema, 0x99aabbccu);
    EXPECT_EQ(d.priority, 3);
  }
  EXPECT_EQ(kInlineBytes, 72u);
}

TEST_F(LineTest, ReadsNoByteBehindAnInlinePayload) {
  // On the heap and of the exact size: AddressSanitizer looks.
  for (std::uint32_t length : {1u, 7u, 8u, 9u, 11u, 12u, 13u, 71u, 72u}) {
    const auto exact = std::make_unique<std::byte[]>(length);
    std::memcpy(exact.get(), payload.data(), length);
    write_line(line.unit, 1, inlined(length), exact.get());
    ASSERT_EQ(read(1), LineRead::present);
    EXPECT_EQ(std::memcmp(data.bytes, payload.data(), length), 0);
  }
}

TEST_F(LineTest, CarriesASlotDescriptorWhole) {
  write_line(line.unit, 9, slot(), nullptr);
  ASSERT_EQ(read(9), LineRead::present);
  EXPECT_EQ(d.kind, LineKind::slot);
  EXPECT_EQ(d.flags, kPayloadReady);
  EXPECT_EQ(d.length, 4096u);
  EXPECT_EQ(d.slot, 17u);
  EXPECT_EQ(d.lease, 0x8000000000000001u);
  EXPECT_EQ(d.alias, 70u);
  EXPECT_EQ(d.alias_lease, 5u);
  EXPECT_EQ(d.published_at_ns, 123456789u);
}

TEST_F(LineTest, IsAbsentBeforeAndAfterItsLap) {
  EXPECT_EQ(read(1), LineRead::absent);
  write_line(line.unit, 2, inlined(72), payload.data());
  EXPECT_EQ(read(1), LineRead::absent);
  EXPECT_EQ(read(2), LineRead::present);
  EXPECT_EQ(read(3), LineRead::absent);
  EXPECT_TRUE(is_tagged(line.unit, 2));
  EXPECT_FALSE(is_tagged(line.unit, 3));
}

TEST_F(LineTest, IsDamagedWithoutATagBehindTheFirstUnitUnlessUnitsArriveInAnyOrder) {
  const auto read_from_device = [&] { return read_line(line.unit, 6, d, data.bytes, true); };
  for (unsigned missing = 0; missing < kLineUnits; ++missing) {
    write_line(line.unit, 6, inlined(72), payload.data());
    line.unit[missing].store(make_unit(1, 2, 5), std::memory_order_relaxed);
    EXPECT_EQ(read(6), missing == 0 ? LineRead::absent : LineRead::damaged) << "inline, unit " << missing;
    EXPECT_EQ(read_from_device(), LineRead::absent) << "inline, unit " << missing;
    write_line(line.unit, 6, slot(), nullptr);
    line.unit[missing].store(make_unit(1, 2, 5), std::memory_order_relaxed);
    const bool used = missing < 5;
    EXPECT_EQ(read(6), missing == 0 ? LineRead::absent
                       : used       ? LineRead::damaged
                                    : LineRead::present)
        << "slot, unit " << missing;
    EXPECT_EQ(read_from_device(), used ? LineRead::absent : LineRead::present) << "slot, unit " << missing;
  }
}

TEST_F(LineTest, ReadsATombstoneFromItsFirstUnitAlone) {
  Descriptor t;
  t.kind = LineKind::tombstone;
  t.producer = 7;
  write_line(line.unit, 3, t, nullptr);
  line.unit[1].store(make_unit(0, 0, 2), std::memory_order_relaxed);
  ASSERT_EQ(read(3), LineRead::present);
  EXPECT_EQ(d.kind, LineKind::tombstone);
  EXPECT_EQ(d.producer, 7u);
}

TEST_F(LineTest, TellsDamagedKindsLengthsAndDataUnits) {
  const auto with_unit0 = [&](Descriptor x) {
    write_line(line.unit, 4, inlined(72), payload.data());
    line.unit[0].store(make_unit(pack_kind(x), 0, 4), std::memory_order_relaxed);
    return read(4);
  };
  for (unsigned kind = 0; kind < 256; ++kind) {
    Descriptor x = inlined(0);
    x.kind = static_cast<LineKind>(kind);
    const bool known = kind >= 1 && kind <= 4;  // inlined, slot, tombstone, control
    EXPECT_EQ(with_unit0(x), known ? LineRead::present : LineRead::damaged) << kind;
  }
  for (const std::uint32_t length : {73u, 84u, 0x7fffffffu, 0xfffffff5u, 0xffffffffu}) {
    EXPECT_EQ(with_unit0(inlined(length)), LineRead::damaged) << length;
  }
  for (unsigned unit = 0; unit < 256; ++unit) {
    Descriptor x = inlined(12);
    x.data_unit = static_cast<std::uint8_t>(unit);
    EXPECT_EQ(with_unit0(x), unit >= 2 && unit <= 7 ? LineRead::present : LineRead::damaged) << unit;
  }
  Descriptor late = inlined(24);
  late.data_unit = 7;
  EXPECT_EQ(with_unit0(late), LineRead::damaged);
}

TEST_F(LineTest, ReadsPayloadFromTheDataUnitThatALaterVersionWrites) {
  write_line(line.unit, 4, inlined(72), payload.data());
  Descriptor x = inlined(36);
  x.data_unit = 5;
  line.unit[0].store(make_unit(pack_kind(x), 0, 4), std::memory_order_relaxed);
  ASSERT_EQ(read(4), LineRead::present);
  EXPECT_EQ(std::memcmp(data.bytes, payload.data() + 36, 36), 0);
}

TEST_F(LineTest, IsWrittenFromItsFirstDataUnitOnWhateverTheDescriptorSays) {
  Descriptor x = inlined(12);
  x.data_unit = 3;  // as it stood in the line of a later version
  write_line(line.unit, 4, x, payload.data());
  ASSERT_EQ(read(4), LineRead::present);
  EXPECT_EQ(std::memcmp(data.bytes, payload.data(), 12), 0);
}

TEST_F(LineTest, WritesEveryUnitEach2To20Laps) {
  constexpr std::uint64_t kRound = 1u << 20;
  for (const Descriptor& x : {inlined(0), slot()}) {
    write_line(line.unit, kRound - 1, inlined(72), payload.data());
    write_line(line.unit, kRound, x, payload.data());
    for (const auto& unit : line.unit) EXPECT_EQ(tag_of(unit.hi), kRound);
    ASSERT_EQ(read(kRound), LineRead::present);
    EXPECT_EQ(d.kind, x.kind);
    EXPECT_EQ(d.slot, x.slot);
    write_line(line.unit, kRound + 1, x, payload.data());
    EXPECT_EQ(tag_of(line.unit[7].hi), kRound);
  }
  Descriptor t;
  t.kind = LineKind::tombstone;
  write_line(line.unit, 3 * kRound, t, nullptr);
  for (const auto& unit : line.unit) EXPECT_EQ(tag_of(unit.hi), 3 * kRound);
}

TEST_F(LineTest, IsNotFooledByATagOf2To32LapsAgo) {
  constexpr std::uint64_t kWrap = std::uint64_t{1} << 32;
  write_line(line.unit, 5, inlined(72), payload.data());
  // 2^32 laps later the same tag comes back; some lap in between has written all units.
  write_line(line.unit, kWrap, inlined(0), nullptr);
  EXPECT_EQ(read(kWrap + 5), LineRead::absent);
  write_line(line.unit, kWrap + 5, inlined(12), payload.data());
  EXPECT_EQ(read(kWrap + 5), LineRead::present);
  Descriptor longer = inlined(72);  // unit 0 alone from this lap: units 3.. must not match by their old tags
  line.unit[0].store(make_unit(pack_kind(longer), 0, 5), std::memory_order_relaxed);
  EXPECT_EQ(read(kWrap + 5), LineRead::damaged);
}

TEST_F(LineTest, WorksWhereTheTagIsZero) {
  constexpr std::uint64_t kWrap = std::uint64_t{1} << 32;
  write_line(line.unit, kWrap - 1, inlined(12), payload.data());
  EXPECT_EQ(read(kWrap), LineRead::absent);
  write_line(line.unit, kWrap, inlined(12), payload.data());
  EXPECT_EQ(read(kWrap), LineRead::present);
  EXPECT_EQ(read(kWrap + 1), LineRead::absent);
}

// Lines that are well formed, or damaged in some word, or of another lap: where the short way takes one, read_line()
// says the same of it; where it does not, the line is not all there or has not the usual head.
TEST_F(LineTest, TheShortWayOfTaggedLinesSaysWhatTheLongOneSays) {
  constexpr std::uint64_t kLap = 9;
  constexpr std::byte kGuard{0xa5};
  std::mt19937_64 random(4711);
  unsigned taken = 0, left = 0;
  for (int round = 0; round < 200'000; ++round) {
    Descriptor x = inlined(static_cast<std::uint32_t>(random() % (kInlineBytes + 1)));
    x.priority = 0;
    x.sequence = random();
    x.producer = static_cast<std::uint32_t>(random()) & kClientMask;
    write_line(line.unit, kLap, x, payload.data());
    if (round % 3 != 0) {  // damaged
      const Unit old = line.unit[random() % kLineUnits];
      Unit& unit = line.unit[random() % kLineUnits];
      unit = round % 3 == 1 ? old : Unit{unit.lo ^ (std::uint64_t{1} << random() % 64), unit.hi ^ (random() % 2) << 32};
    }
    std::array<std::byte, kInlineBytes + 16> copy;
    copy.fill(kGuard);
    PackedUnits p;
    const bool usual = copy_usual_tagged_line(line.unit, kLap, p, copy.data());
    const LineRead r = read(kLap);
    for (std::size_t i = kInlineBytes + 8; i < copy.size(); ++i) ASSERT_EQ(copy[i], kGuard);
    if (!usual) {
      ++left;
      ASSERT_FALSE(r == LineRead::present && (line.unit[0].lo & kAllButLength) == kUsualHead);
      continue;
    }
    ++taken;
    ASSERT_EQ(r, LineRead::present);
    expect_units_of(p, d);
    ASSERT_FALSE(HasFailure());
    ASSERT_EQ(std::memcmp(copy.data(), data.bytes, d.length), 0);
  }
  EXPECT_GT(taken, 60'000u);
  EXPECT_GT(left, 20'000u);
}

TEST_F(LineTest, StoredDescriptorGivesBackWhatALineCarried) {
  StoredDescriptorOf<SharedAtomics> stored{};
  for (const Descriptor& x : {slot(), inlined(33)}) {
    stored.store(x);
    const Descriptor y = stored.load();
    EXPECT_EQ(y.kind, x.kind);
    EXPECT_EQ(y.flags, x.flags);
    EXPECT_EQ(y.length, x.length);
    EXPECT_EQ(y.producer, x.producer);
    EXPECT_EQ(y.schema, x.schema);
    EXPECT_EQ(y.sequence, x.sequence);
    EXPECT_EQ(y.slot, x.slot);
    EXPECT_EQ(y.lease, x.lease);
    EXPECT_EQ(y.alias, x.alias);
    EXPECT_EQ(y.alias_lease, x.alias_lease);
    EXPECT_EQ(y.published_at_ns, x.published_at_ns);
  }
}

}  // namespace
}  // namespace ipcq::detail
