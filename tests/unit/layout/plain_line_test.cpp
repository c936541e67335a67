#include "layout/plain_line.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "unit/layout/descriptors.hpp"

namespace ipcq::detail {
namespace {

constexpr std::uint32_t kUnits = kMostLineBytes / kUnitSize;

class PlainLine : public testing::TestWithParam<std::uint32_t> {
 protected:
  PlainLine() : payload_(inline_bytes()) {
    for (std::size_t i = 0; i < payload_.size(); ++i) payload_[i] = static_cast<std::byte>(i * 7 + 1);
  }
  std::uint32_t units() const { return GetParam() / kUnitSize; }
  std::uint32_t inline_bytes() const { return plain_inline_bytes(GetParam()); }
  LineRead look(std::uint64_t lap) { return look_at_plain_line(units_, units(), lap, d_); }
  // What a reader makes of a line with the head of `x`.
  LineRead with_head(const Descriptor& x) {
    write_plain_line(units_, 4, inlined(0), nullptr);
    units_[0].store(make_unit(pack_kind(x), 0, 4), std::memory_order_relaxed);
    return look(4);
  }

  Descriptor d_;
  std::vector<std::byte> payload_;
  Unit units_[kUnits] = {};
};

TEST_P(PlainLine, CarriesEveryInlineLength) {
  for (std::uint32_t length = 0; length <= inline_bytes(); ++length) {
    // On the heap and of the exact size: AddressSanitizer looks.
    const auto from = std::make_unique<std::byte[]>(length);
    const auto to = std::make_unique<std::byte[]>(length);
    if (length != 0) std::memcpy(from.get(), payload_.data(), length);
    write_plain_line(units_, length + 1, inlined(length), from.get());
    ASSERT_EQ(look(length + 1), LineRead::present) << length;
    EXPECT_EQ(d_.length, length);
    EXPECT_EQ(d_.producer, 0x2abcdeu);
    EXPECT_EQ(d_.sequence, 0x1122334455667788u);
    EXPECT_EQ(d_.schema, 0x99aabbccu);
    EXPECT_EQ(d_.priority, 3);
    read_plain_payload(units_, d_, to.get());
    EXPECT_EQ(std::memcmp(to.get(), payload_.data(), length), 0) << length;
    EXPECT_EQ(std::memcmp(Unit::plain_bytes(units_ + d_.data_unit), payload_.data(), length), 0) << length;
  }
}

TEST_P(PlainLine, IsTheSameByTheShortWay) {
  for (const std::uint32_t length : {0u, 1u, 31u, inline_bytes()}) {
    Descriptor x = inlined(length);
    x.schema = 0;
    x.priority = 0;
    write_plain_line(units_, 9, x, payload_.data());
    std::array<std::byte, sizeof units_> whole{};
    std::memcpy(whole.data(), units_, sizeof units_);
    std::memset(units_, 0, sizeof units_);
    write_plain_inline(units_, 9, x.producer, x.sequence, payload_.data(), length);
    EXPECT_EQ(std::memcmp(whole.data(), units_, (kInlineUnit * kUnitSize) + length), 0) << length;
  }
}

TEST_P(PlainLine, NamesASlotAlikeByTheShortWay) {
  Descriptor x = slot(0x7fffffff);
  x.schema = 0;
  x.priority = 0;
  x.alias = kNone;
  x.alias_lease = 0;
  write_plain_line(units_, 9, x, nullptr);
  std::array<std::byte, sizeof units_> whole{};
  std::memcpy(whole.data(), units_, sizeof units_);
  std::memset(units_, 0, sizeof units_);
  write_plain_slot(units_, 9, x.producer, x.sequence,
                   {.lease = x.lease, .slot = x.slot, .published_at_ns = x.published_at_ns}, x.length);
  EXPECT_EQ(std::memcmp(whole.data(), units_, sizeof units_), 0);
}

// What a reader takes in the short way is what the long way says of it, and nothing else.
TEST_P(PlainLine, IsLookedAtInTheShortWayIfItsHeadIsTheUsualOne) {
  const auto inline_look = [&](std::uint64_t lap, PackedUnits& p) {
    return look_at_usual_line<LineKind::inlined>(units_, lap, inline_bytes(), p);
  };
  const auto slot_look = [&](std::uint64_t lap, PackedUnits& p) {
    return look_at_usual_line<LineKind::slot>(units_, lap, inline_bytes(), p);
  };
  for (unsigned kind = 0; kind < 256; ++kind) {
    for (const unsigned flags : {0u, unsigned{kPayloadReady}, unsigned{kNotProcessed}, 0xffu}) {
      for (const std::uint32_t length : {0u, inline_bytes(), inline_bytes() + 1, 0xffffffffu}) {
        Descriptor x;
        x.kind = static_cast<LineKind>(kind);
        x.flags = static_cast<std::uint8_t>(flags);
        x.length = length;
        (void)with_head(x);
        PackedUnits p;
        const bool usual_inline = kind == 1 && flags == 0 && length <= inline_bytes();
        EXPECT_EQ(inline_look(4, p), usual_inline) << kind << ' ' << flags << ' ' << length;
        EXPECT_EQ(slot_look(4, p), kind == 2 && flags == kPayloadReady) << kind << ' ' << flags << ' ' << length;
        EXPECT_FALSE(inline_look(5, p) || slot_look(5, p));
      }
    }
  }
  write_plain_line(units_, 7, inlined(1), payload_.data());
  PackedUnits p;
  Descriptor same = inlined(1);
  EXPECT_EQ(inline_look(7, p), same.priority == 0) << "the priority is no usual one";
  same.priority = 0;
  write_plain_line(units_, 7, same, payload_.data());
  ASSERT_TRUE(inline_look(7, p));
  ASSERT_EQ(look(7), LineRead::present);
  expect_units_of(p, d_);
}

TEST_P(PlainLine, WritesNothingBehindItself) {
  for (std::uint32_t u = units(); u < kUnits; ++u) units_[u] = {7, 7};
  write_plain_line(units_, 1, inlined(inline_bytes()), payload_.data());
  write_plain_line(units_, std::uint64_t{1} << 20, slot(0xffffffff), nullptr);
  for (std::uint32_t u = units(); u < kUnits; ++u) EXPECT_EQ(units_[u].lo, 7u) << u;
}

TEST_P(PlainLine, CarriesASlotDescriptorWhole) {
  write_plain_line(units_, 9, slot(0xffffffff), nullptr);
  ASSERT_EQ(look(9), LineRead::present);
  EXPECT_EQ(d_.kind, LineKind::slot);
  EXPECT_EQ(d_.flags, kPayloadReady);
  EXPECT_EQ(d_.length, 0xffffffffu);
  EXPECT_EQ(d_.slot, 17u);
  EXPECT_EQ(d_.lease, 0x8000000000000001u);
  EXPECT_EQ(d_.alias, 70u);
  EXPECT_EQ(d_.alias_lease, 5u);
  EXPECT_EQ(d_.published_at_ns, 123456789u);
}

TEST_P(PlainLine, IsAbsentBeforeAndAfterItsLap) {
  EXPECT_EQ(look(1), LineRead::absent);
  write_plain_line(units_, 2, inlined(8), payload_.data());
  EXPECT_EQ(look(1), LineRead::absent);
  EXPECT_EQ(look(2), LineRead::present);
  EXPECT_EQ(look(3), LineRead::absent);
  EXPECT_TRUE(is_tagged(units_, 2));
  EXPECT_FALSE(is_tagged(units_, 3));
}

TEST_P(PlainLine, ReadsATombstoneFromItsFirstUnitAlone) {
  Descriptor t;
  t.kind = LineKind::tombstone;
  t.producer = 7;
  write_plain_line(units_, 3, t, nullptr);
  units_[1].store(make_unit(0, 0, 2), std::memory_order_relaxed);
  ASSERT_EQ(look(3), LineRead::present);
  EXPECT_EQ(d_.kind, LineKind::tombstone);
  EXPECT_EQ(d_.producer, 7u);
}

TEST_P(PlainLine, TellsDamagedKindsLengthsAndDataUnits) {
  for (unsigned kind = 0; kind < 256; ++kind) {
    Descriptor x = inlined(0);
    x.kind = static_cast<LineKind>(kind);
    const bool known = kind >= 1 && kind <= 3;  // inlined, slot, tombstone: requests are for a GPU's executor
    EXPECT_EQ(with_head(x), known ? LineRead::present : LineRead::damaged) << kind;
  }
  EXPECT_EQ(with_head(inlined(inline_bytes())), LineRead::present);
  for (const std::uint32_t length : {inline_bytes() + 1, inline_bytes() + 32, 0x7fffffffu, 0xffffffffu}) {
    EXPECT_EQ(with_head(inlined(length)), LineRead::damaged) << length;
  }
  for (unsigned unit = 0; unit < 256; ++unit) {
    Descriptor x = inlined(16);
    x.data_unit = static_cast<std::uint8_t>(unit);
    EXPECT_EQ(with_head(x), unit >= 2 && unit < units() ? LineRead::present : LineRead::damaged) << unit;
  }
  Descriptor none = inlined(0);
  none.data_unit = static_cast<std::uint8_t>(units());
  EXPECT_EQ(with_head(none), LineRead::present);
}

TEST_P(PlainLine, IsCopiedToAHeldEntryAsItIsRead) {
  Descriptor flagged = slot(0xffffffff);
  flagged.flags = 0xff;
  for (const Descriptor& x : {inlined(0), inlined(inline_bytes()), slot(0xffffffff), flagged}) {
    write_plain_line(units_, 6, x, payload_.data());
    ASSERT_EQ(look(6), LineRead::present);
    StoredDescriptorOf<SharedAtomics> expected{};
    expected.store(d_);
    StoredDescriptorOf<SharedAtomics> copied{};
    std::vector<std::byte> data(inline_bytes());
    LineKind kind = LineKind::none;
    ASSERT_EQ(copy_plain_line(units_, units(), 6, copied, data.data(), kind), LineRead::present);
    EXPECT_EQ(kind, x.kind);
    EXPECT_EQ(std::memcmp(&copied, &expected, sizeof copied), 0);
    const std::size_t bytes = x.kind == LineKind::inlined ? x.length : 0;
    EXPECT_EQ(std::memcmp(data.data(), payload_.data(), bytes), 0) << bytes;
  }
}

TEST_P(PlainLine, ChangesNoHeldEntryIfItCarriesNoSoundMessage) {
  Descriptor t;
  t.kind = LineKind::tombstone;
  for (const Descriptor& x : {t, inlined(inline_bytes() + 1), Descriptor{}}) {
    (void)with_head(x);
    StoredDescriptorOf<SharedAtomics> copied{};
    std::vector<std::byte> data(inline_bytes());
    LineKind kind = LineKind::none;
    const LineRead r = copy_plain_line(units_, units(), 4, copied, data.data(), kind);
    EXPECT_EQ(r, x.kind == LineKind::tombstone ? LineRead::present : LineRead::damaged);
    EXPECT_EQ(kind, x.kind == LineKind::tombstone ? x.kind : LineKind::none);
    EXPECT_EQ(copy_plain_line(units_, units(), 5, copied, data.data(), kind), LineRead::absent);
    for (const Word& word : copied.word) EXPECT_EQ(word.raw, 0u);
    EXPECT_EQ(data, std::vector<std::byte>(inline_bytes()));
  }
}

TEST_P(PlainLine, DropsFlagsThatNoLineMayHave) {
  Descriptor x = slot(0xffffffff);
  x.flags = 0xff;
  write_plain_line(units_, 5, x, nullptr);
  ASSERT_EQ(look(5), LineRead::present);
  EXPECT_EQ(unsigned{d_.flags}, kPayloadReady | kNotProcessed | kInMirror | kRecords | kHandlerFailed | kFiltered);
}

TEST_P(PlainLine, ReadsPayloadFromTheDataUnitThatALaterVersionWrites) {
  write_plain_line(units_, 4, inlined(inline_bytes()), payload_.data());
  Descriptor x = inlined(inline_bytes() - 16);
  x.data_unit = 3;
  units_[0].store(make_unit(pack_kind(x), 0, 4), std::memory_order_relaxed);
  ASSERT_EQ(look(4), LineRead::present);
  std::vector<std::byte> got(d_.length);
  read_plain_payload(units_, d_, got.data());
  EXPECT_EQ(std::memcmp(got.data(), payload_.data() + 16, got.size()), 0);
}

TEST_P(PlainLine, IsWrittenFromItsFirstDataUnitOnWhateverTheDescriptorSays) {
  Descriptor x = inlined(16);
  x.data_unit = 3;  // as it stood in the line of a later version
  write_plain_line(units_, 4, x, payload_.data());
  ASSERT_EQ(look(4), LineRead::present);
  std::array<std::byte, 16> got{};
  read_plain_payload(units_, d_, got.data());
  EXPECT_EQ(std::memcmp(got.data(), payload_.data(), got.size()), 0);
}

TEST_P(PlainLine, WorksWhereTheTagIsZero) {
  constexpr std::uint64_t kWrap = std::uint64_t{1} << 32;
  write_plain_line(units_, kWrap - 1, inlined(12), payload_.data());
  EXPECT_EQ(look(kWrap), LineRead::absent);
  write_plain_line(units_, kWrap, inlined(12), payload_.data());
  EXPECT_EQ(look(kWrap), LineRead::present);
  EXPECT_EQ(look(kWrap + 1), LineRead::absent);
}

INSTANTIATE_TEST_SUITE_P(OfEachKindOfSize, PlainLine, testing::Values(64u, 128u, 192u, 2048u),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace ipcq::detail
