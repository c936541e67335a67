// Flat values: what a writer lays out a view finds, and nothing that a message says leads beyond its payload.
#include "ipcq/flat.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ipcq/error.hpp"
#include "ipcq/flat_writer.hpp"
#include "ipcq/schema.hpp"
#include "typed_values.hpp"

namespace ipcq {
namespace {

using namespace ipcq_test;

static_assert(!detail::kRefersElsewhere<Tick> && detail::kChecked<Tick>);
static_assert(!detail::kChecked<Point>);
static_assert(detail::kRefersElsewhere<Track> && detail::kRefersElsewhere<Scene> && detail::kRefersElsewhere<Tensor>);
static_assert(detail::kRefersElsewhere<Track[2]>);

struct NotedPoint : Point {
  const char* note = {};
};
static_assert(detail::kIsField<Point> && !detail::kIsField<NotedPoint> && !detail::kIsField<const char*>);

// Exactly as large as asked, so that a sanitizer sees each byte beyond.
struct Room {
  explicit Room(std::size_t bytes) : data(new std::byte[bytes]()), size(bytes) {}
  std::span<std::byte> span() const { return {data.get(), size}; }
  std::unique_ptr<std::byte[]> data;
  std::size_t size;
};

std::vector<std::byte> scene() {
  const Room room(1024);
  FlatWriter<Scene> w(room.span());
  w->number = 5;
  w->grid[1][2] = -7;
  const std::span<Track> tracks = w.make(w->tracks, 2);
  for (Track& track : tracks) track = {};
  w.put(tracks[0].name, "first");
  w.put(tracks[1].name, "second");
  tracks[1].open = true;
  const Point points[] = {{1, 2}, {3, 4}};
  w.put(tracks[0].points, points);
  const std::span<float> image = w.make<float>(w->image, {2, 3});
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<float>(i);
  EXPECT_FALSE(w.is_full());
  return {w.bytes().begin(), w.bytes().end()};
}

TEST(Flat, WhatAWriterBuildsAViewFinds) {
  const auto bytes = scene();
  const FlatView<Scene> view(bytes.data(), bytes.size());
  ASSERT_TRUE(view.is_sound());
  EXPECT_EQ(view->number, 5u);
  const auto tracks = view.get(view->tracks);
  ASSERT_EQ(tracks.size(), 2u);
  EXPECT_EQ(std::string_view(view.get(tracks[0].name)), "first");
  EXPECT_EQ(std::string_view(view.get(tracks[1].name)), "second");
  ASSERT_EQ(view.get(tracks[0].points).size(), 2u);
  EXPECT_EQ(view.get(tracks[0].points)[1].y, 4);
  EXPECT_TRUE(view.get(tracks[1].points).empty());
  const TensorView image = view.get(view->image);
  ASSERT_TRUE(image);
  EXPECT_EQ(image.size(), 6u);
  EXPECT_EQ(image.elements<float>()[5], 5);
  EXPECT_TRUE(image.elements<double>().empty());
  EXPECT_TRUE(image.elements<std::int32_t>().empty());
  EXPECT_EQ((image.data() - bytes.data()) % Tensor::kAlignment, 0);
}

TEST(Flat, WhatHasNoRoomIsSaid) {
  const Room small(sizeof(Scene) - 1);
  EXPECT_TRUE(FlatWriter<Scene>(small.span()).is_full());
  const Room room(sizeof(Scene) + 20);
  FlatWriter<Scene> w(room.span());
  EXPECT_TRUE(w.make(w->tracks, 2).empty());
  EXPECT_TRUE(w.is_full());
  EXPECT_EQ(w->tracks.count, 0u);
  FlatWriter<Scene> tensors(room.span());
  EXPECT_TRUE(tensors.make<double>(tensors->image, {1U << 31, 1U << 31, 1U << 31}).empty());
  FlatWriter<Scene> dimensions(room.span());
  EXPECT_TRUE(dimensions.make<float>(dimensions->image, {1, 1, 1, 1, 1, 1, 1, 1, 1}).empty());
  FlatWriter<Scene> odd(room.span());
  EXPECT_TRUE(odd.make(odd->image, DType{DType::kUint, 12, 1}, {}).empty());
  EXPECT_TRUE(odd.is_full());
  FlatWriter<Scene> lists(room.span());
  EXPECT_TRUE(lists.make(lists->tracks, ~std::size_t{0} / 8).empty());
}

TEST(Flat, ElementsThatReferElsewhereBeginEmptyInAUsedRoom) {
  const Room room(1024);
  std::memset(room.data.get(), 0xff, room.size);
  FlatWriter<Scene> w(room.span());
  ASSERT_EQ(w.make(w->tracks, 5).size(), 5u);
  const FlatView<Scene> view(w.bytes().data(), w.bytes().size());
  ASSERT_TRUE(view.is_sound());
  for (const Track& t : view.get(view->tracks)) EXPECT_TRUE(view.get(t.name).empty());
  EXPECT_FALSE(view.get(view->image)) << "nobody has set it";
}

TEST(Flat, AValueBesideItsPayloadRefersToIt) {
  const Room room(256);
  FlatWriter<Track> w(FlatWriter<Track>::Beside(), room.span());
  ASSERT_TRUE(w.put(w->name, "beside"));
  ASSERT_EQ(w.make(w->points, 3).size(), 3u);
  EXPECT_EQ(w.length(), 8 + 3 * sizeof(Point));
  const FlatView<Track> view(*w, w.bytes().data(), w.bytes().size());
  ASSERT_TRUE(view.is_sound());
  EXPECT_EQ(std::string_view(view.get(view->name)), "beside");
}

TEST(Flat, OneThatRefersToNothingIsAllOfItsPayload) {
  const std::array<std::byte, sizeof(Tick) + 1> bytes{};
  EXPECT_TRUE(FlatView<Tick>(bytes.data(), sizeof(Tick)).is_sound());
  EXPECT_FALSE(FlatView<Tick>(bytes.data(), sizeof(Tick) - 1).is_sound());
  EXPECT_FALSE(FlatView<Tick>(bytes.data(), sizeof(Tick) + 1).is_sound());
}

TEST(Flat, ABoolThatIsNoneIsNotSound) {
  Tick tick{};
  EXPECT_TRUE(FlatView<Tick>(reinterpret_cast<std::byte*>(&tick), sizeof tick).is_sound());
  reinterpret_cast<unsigned char*>(&tick)[offsetof(Tick, last)] = 2;
  EXPECT_FALSE(FlatView<Tick>(reinterpret_cast<std::byte*>(&tick), sizeof tick).is_sound());
}

enum class Switch : bool {};
struct Switches {
  bool on = {};
  Switch position = {};
  List<Track> tracks = {};
};
IPCQ_SCHEMA(Switches, on, position, tracks)

static_assert(detail::kChecked<const bool> && detail::kRefersElsewhere<const List<Track>[2]>);
TEST(Flat, BoolsOfOtherNamesAreCheckedToo) {
  for (const std::size_t spoiled : {offsetof(Switches, on), offsetof(Switches, position), offsetof(Switches, tracks)}) {
    alignas(8) std::byte bytes[sizeof(Switches)] = {};
    EXPECT_TRUE(FlatView<Switches>(bytes, sizeof bytes).is_sound());
    std::memset(bytes + spoiled, 2, spoiled == offsetof(Switches, tracks) ? sizeof(List<Track>) : 1);
    EXPECT_FALSE(FlatView<Switches>(bytes, sizeof bytes).is_sound()) << spoiled;
  }
}

TEST(Flat, ABoolTensorIsReadAsBytes) {
  const Room room(512);
  FlatWriter<Tensor> w(room.span());
  ASSERT_EQ(w.make<bool>(*w, {3}).size(), 3u);
  const FlatView<Tensor> view(w.bytes().data(), w.bytes().size());
  EXPECT_EQ(view.get(*view).elements<unsigned char>().size(), 3u);
  EXPECT_TRUE(view.get(*view).elements<signed char>().empty());
}

TEST(Flat, ARoomThatIsNotAlignedHasNoRoom) {
  alignas(8) std::byte room[256];
  EXPECT_FALSE(FlatWriter<Track>(std::span(room)).is_full());
  EXPECT_TRUE(FlatWriter<Track>(std::span(room).subspan(4)).is_full());
}

TEST(Flat, PlacesBeyondThePayloadAreNotSound) {
  struct {
    alignas(8) Track track{};
    std::byte rest[64]{};
  } m;
  const auto sound = [&] { return FlatView<Track>(reinterpret_cast<const std::byte*>(&m), sizeof m).is_sound(); };
  EXPECT_TRUE(sound());
  m.track.name = {sizeof m, 0};
  EXPECT_TRUE(sound());
  m.track.name = {sizeof m, 1};
  EXPECT_FALSE(sound());
  m.track.name = {0xffffffff, 0xffffffff};
  EXPECT_FALSE(sound());
  m.track.name = {};
  m.track.points = {32, 7};
  EXPECT_TRUE(sound());
  m.track.points = {34, 1};  // not aligned
  EXPECT_FALSE(sound());
  m.track.points = {32, 0x20000001};  // times 8 is 8, in 32 bits
  EXPECT_FALSE(sound());
}

Tensor tensor(std::uint64_t at, std::initializer_list<std::pair<std::uint32_t, std::int64_t>> dimensions) {
  Tensor t;
  t.dtype = kDTypeOf<float>;
  t.at = at;
  for (const auto& [extent, stride] : dimensions) {
    t.shape[t.dimensions] = extent;
    t.strides[t.dimensions++] = stride;
  }
  return t;
}

TEST(Flat, ATensorIsSoundWhereAllOfItsElementsAreInThePayload) {
  EXPECT_TRUE(detail::fits_in(tensor(0, {{4, 1}}), 16));
  EXPECT_FALSE(detail::fits_in(tensor(4, {{4, 1}}), 16));
  EXPECT_TRUE(detail::fits_in(tensor(12, {{4, -1}}), 16));
  EXPECT_FALSE(detail::fits_in(tensor(8, {{4, -1}}), 16));
  EXPECT_TRUE(detail::fits_in(tensor(8, {{2, 1}, {3, -1}}), 16));
  EXPECT_TRUE(detail::fits_in(tensor(0, {{0xffffffff, 0}}), 4)) << "one element, shown over and over";
  EXPECT_TRUE(detail::fits_in(tensor(16, {{0, 1}, {0xffffffff, 0x7fffffffffffffff}}), 16)) << "no element";
  EXPECT_FALSE(detail::fits_in(tensor(17, {{0, 1}}), 16));
  EXPECT_TRUE(detail::fits_in(tensor(12, {}), 16)) << "of no dimension: one element";
  EXPECT_FALSE(detail::fits_in(tensor(2, {{1, 1}}), 16)) << "not aligned";
  constexpr std::int64_t kMost = 0x7fffffffffffffff;
  EXPECT_FALSE(detail::fits_in(tensor(0, {{2, kMost}, {2, kMost}, {2, kMost}}), 16));
  EXPECT_FALSE(detail::fits_in(tensor(0, {{2, -kMost - 1}, {3, -kMost - 1}}), 16));
  EXPECT_FALSE(detail::fits_in(tensor(0, {{0x80000001, 0x80000000}, {0x80000001, 0x80000000}}), 16));
  Tensor odd = tensor(0, {{1, 1}});
  odd.dimensions = 9;
  EXPECT_FALSE(detail::fits_in(odd, 16));
  odd = tensor(0, {{1, 1}});
  odd.dtype.bits = 4;
  EXPECT_FALSE(detail::fits_in(odd, 16));
  odd.dtype.lanes = 2;
  EXPECT_TRUE(detail::fits_in(odd, 16));
  odd.dtype.lanes = 0;
  EXPECT_FALSE(detail::fits_in(odd, 16));
}

TEST(Flat, AViewOfATensorTellsWhetherItsElementsLieInOrder) {
  const std::array<float, 8> room{};
  const auto view = [&](const Tensor& t) { return TensorView(t, reinterpret_cast<const std::byte*>(room.data())); };
  EXPECT_TRUE(view(tensor(0, {{2, 4}, {4, 1}})).is_contiguous());
  EXPECT_FALSE(view(tensor(0, {{4, 1}, {2, 4}})).is_contiguous());
  EXPECT_TRUE(view(tensor(0, {{1, 77}, {8, 1}})).is_contiguous());
  EXPECT_FALSE(view(tensor(0, {{8, -1}})).is_contiguous());
  EXPECT_EQ(view(tensor(0, {{2, 4}, {0, 1}})).size(), 0u);
  EXPECT_FALSE(TensorView());
  EXPECT_EQ(TensorView().size(), 0u);
  EXPECT_FALSE(TensorView().is_contiguous());
  constexpr std::uint32_t kMost = 0xffffffff;
  EXPECT_TRUE(view(tensor(0, {{0, 1}, {kMost, 1}, {kMost, 1}, {kMost, 1}})).is_contiguous());
  EXPECT_FALSE(view(tensor(0, {{kMost, 0}, {kMost, 0}, {kMost, 0}})).is_contiguous());
}

struct Tile {
  bool mask[4096] = {};
};
IPCQ_SCHEMA(Tile, mask)
struct Row {
  List<Tile> tiles;
};
IPCQ_SCHEMA(Row, tiles)

TEST(Flat, ArraysInElementsThatAreNamedOverAndOverAreNotSound) {
  const Room room(1 << 20);
  FlatWriter<List<Row>> w(room.span());
  const std::span<Row> rows = w.make(*w, 10'000);
  ASSERT_EQ(w.make(rows[0].tiles, 1).size(), 1u);
  for (Row& r : rows) r.tiles = rows[0].tiles;
  EXPECT_FALSE(FlatView<List<Row>>(w.bytes().data(), w.bytes().size()).is_sound());
  for (std::size_t i = 1; i < rows.size(); ++i) rows[i] = {};
  EXPECT_TRUE(FlatView<List<Row>>(w.bytes().data(), w.bytes().size()).is_sound());
}

TEST(Flat, ListsMayShareElementsThatNeedNoLook) {
  struct {
    alignas(8) List<Point> lists[64] = {};
    Point points[4];
  } m;
  for (auto& list : m.lists) list = {offsetof(decltype(m), points), 4};
  const auto* const bytes = reinterpret_cast<const std::byte*>(&m);
  EXPECT_TRUE(FlatView<List<Point>[64]>(m.lists, bytes, sizeof m).is_sound());
}

// Every change of a message leaves a view that reads within the payload: a sanitizer, or a crash, would tell.
TEST(Flat, ChangedMessagesAreReadWithinTheirPayload) {
  const auto bytes = scene();
  const Schema schema = Schema::parse(schema_text<Scene>());
  std::mt19937 random(11);
  std::size_t sound = 0, sum = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::size_t length = i % 4 == 0 ? random() % (bytes.size() + 1) : bytes.size();
    const Room room(length);
    std::memcpy(room.data.get(), bytes.data(), length);
    for (unsigned n = random() % 4; n != 0 && length != 0; --n) {
      room.data[random() % length] = static_cast<std::byte>(random() % 3 == 0 ? 0xff : random());
    }
    const FlatView<Scene> view(room.data.get(), length);
    if (!view) continue;
    sound += view.is_sound() ? 1 : 0;
    for (const Track& track : view.get(view->tracks)) {
      for (const char c : view.get(track.name)) sum += static_cast<unsigned char>(c);
      for (const Point& p : view.get(track.points)) sum += p.x > 0 ? 1 : 0;
    }
    for (const float f : view.get(view->image).elements<float>()) sum += f > 0 ? 1 : 0;
    try {
      sum += schema.to_json(room.span()).size();
    } catch (const UsageError&) {
      EXPECT_FALSE(view.is_sound());
    }
  }
  EXPECT_GT(sound, 1000u);
  EXPECT_GT(sum, 1000u);
}

}  // namespace
}  // namespace ipcq
