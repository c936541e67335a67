// Messages as JSON, by a schema's text alone.
#include "types/schema_json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "errors.hpp"
#include "ipcq/error.hpp"
#include "ipcq/flat_writer.hpp"
#include "ipcq/schema.hpp"
#include "typed_values.hpp"

namespace ipcq {
namespace {

using namespace ipcq_test;
using testing::HasSubstr;

template <class T>
std::string json(const T& value) {
  return Schema::parse(schema_text<T>()).to_json(std::as_bytes(std::span(&value, 1)));
}
std::string json_of_text(std::string_view text) {
  alignas(8) std::byte room[128];
  FlatWriter<Text> w(room);
  w.put(*w, text);
  return Schema::parse("text").to_json(w.bytes());
}

TEST(SchemaJson, ShowsFieldsInTheirOrder) {
  EXPECT_EQ(json(Tick{.time = ~std::uint64_t{0},
                      .price = 0.1,
                      .symbol = "IBM",
                      .side = Side::sell,
                      .last = true,
                      .levels = {1, -2, 3}}),
            R"({"time":18446744073709551615,"price":0.1,"symbol":"IBM","side":1,"last":true,"levels":[1,-2,3]})");
  EXPECT_EQ(json(std::int8_t{-128}), "-128");
  EXPECT_EQ(json(std::numeric_limits<float>::quiet_NaN()), "\"nan\"");
  EXPECT_EQ(json(-std::numeric_limits<double>::infinity()), "\"-inf\"");
}

TEST(SchemaJson, ShowsListsTextAndTensors) {
  std::vector<std::byte> room(1024);
  FlatWriter<Scene> w(room);
  w->number = 1;
  const auto tracks = w.make(w->tracks, 1);
  tracks[0] = {};
  w.put(tracks[0].name, "a\"b");
  const auto points = w.make(tracks[0].points, 1);
  points[0] = {1.5, 2};
  const auto image = w.make<std::uint16_t>(w->image, {2, 2});
  for (std::size_t i = 0; i < 4; ++i) image[i] = static_cast<std::uint16_t>(i);
  w->image.strides[0] = 1, w->image.strides[1] = 2;  // seen the other way round
  EXPECT_EQ(Schema::parse(schema_text<Scene>()).to_json(w.bytes()),
            R"({"number":1,"tracks":[{"name":"a\"b","points":[{"x":1.5,"y":2}],"open":false}],)"
            R"("grid":[[0,0,0],[0,0,0]],"image":{"dtype":"u16","shape":[2,2],"strides":[1,2],"elements":[0,2,1,3]}})");
}

TEST(SchemaJson, ShowsAValueThatIsMetadata) {
  const std::vector<float> payload = {1, 2};
  const List<float> beside{0, 2};
  EXPECT_EQ(Schema::parse("list<f32>").to_json(std::as_bytes(std::span(payload)), std::as_bytes(std::span(&beside, 1))),
            "[1,2]");
}

TEST(SchemaJson, TextThatIsNoUtf8IsReplaced) {
  EXPECT_EQ(json_of_text("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"), "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\"");
  EXPECT_EQ(json_of_text("a\xffz\xc3"), "\"a\\ufffdz\\ufffd\"");
  EXPECT_EQ(json_of_text("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"") << "a surrogate";
  EXPECT_EQ(json_of_text("\xc0\x80"), "\"\\ufffd\\ufffd\"") << "longer than need be";
  EXPECT_EQ(json_of_text(std::string("\n\x01\\", 3)), "\"\\u000a\\u0001\\\\\"");
}

TEST(SchemaJson, CountsWhatIsLeftOut) {
  std::vector<std::byte> room(4096);
  FlatWriter<List<std::uint8_t>> w(room);
  for (auto& b : w.make(*w, 100)) b = 7;
  const Schema schema = Schema::parse("list<u8>");
  EXPECT_EQ(schema.to_json(w.bytes(), {}, 2), R"([7,7,"... and 98 more"])");
  EXPECT_EQ(schema.to_json(w.bytes(), {}, 0), R"(["... and 100 more"])");
  EXPECT_THAT(schema.to_json(w.bytes()), HasSubstr("and 36 more"));
}

TEST(SchemaJson, ATensorOfMoreElementsThanANumberCanCountIsNotShownAsEmpty) {
  std::vector<std::byte> room(256);
  FlatWriter<Tensor> w(room);
  w.make<std::uint8_t>(*w, {1})[0] = 7;
  w->dimensions = 4;
  for (std::size_t d = 0; d < 4; ++d) w->shape[d] = 1 << 16, w->strides[d] = 0;  // 2^64 times the same one
  EXPECT_EQ(Schema::parse("tensor").to_json(w.bytes(), {}, 1),
            R"({"dtype":"u8","shape":[65536,65536,65536,65536],"strides":[0,0,0,0],"elements":[7,"... and )"
            R"(18446744073709551614 more"]})");
}

// Nested lists that name each other's elements: the text stays bounded.
TEST(SchemaJson, PrintsALimitedNumberOfValues) {
  std::vector<List<List<List<std::uint8_t>>>> lists(64, {0, 64});
  const Schema schema = Schema::parse("list<list<list<list<list<list<u8>>>>>>");
  const auto bytes = std::as_bytes(std::span(lists));
  EXPECT_LT(schema.to_json(bytes).size(), 2'000'000u);
  std::vector<List<Text>> texts(1 << 16);
  texts[0] = {8, 60};
  for (std::size_t i = 1; i < 64; ++i) texts[i] = {0, 1 << 19};
  EXPECT_LT(Schema::parse("list<text>").to_json(std::as_bytes(std::span(texts))).size(), std::size_t{20} << 20);
}

TEST(SchemaJson, ABoolTensorIsShownAsNumbers) {
  alignas(8) std::byte room[256];
  FlatWriter<Tensor> w(room);
  for (bool& b : w.make<bool>(*w, {2})) b = true;
  EXPECT_THAT(Schema::parse("tensor").to_json(w.bytes()), HasSubstr("\"elements\":[1,1]"));
  EXPECT_EQ(json(Tensor{}), "null") << "not set";
}

TEST(SchemaJson, WhatIsNoValueOfTheSchemaIsRefused) {
  const auto refusal = [](const char* text, std::span<const std::byte> bytes) {
    return error_of<UsageError>([&] { (void)Schema::parse(text).to_json(bytes); });
  };
  const std::byte two[8] = {std::byte{2}};
  EXPECT_THAT(refusal("u64", std::span(two).first(7)), HasSubstr("a value has 8"));
  EXPECT_THAT(refusal("u32", two), HasSubstr("a value has 4"));
  EXPECT_THAT(refusal("bool", std::span(two).first(1)), HasSubstr("neither false nor true"));
  const Text beyond{4, 5};
  EXPECT_THAT(refusal("text", std::as_bytes(std::span(&beyond, 1))), HasSubstr("beyond the payload"));
  const List<char> odd{1, 1};
  EXPECT_THAT(refusal("list<u32>", std::as_bytes(std::span(&odd, 1))), HasSubstr("beyond the payload"));
}

}  // namespace
}  // namespace ipcq
