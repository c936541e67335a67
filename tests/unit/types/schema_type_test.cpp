// The text of types, and its parser: what one writes the other reads, and nothing else.
#include "types/schema_type.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "errors.hpp"
#include "ipcq/error.hpp"
#include "ipcq/schema.hpp"
#include "typed_values.hpp"

namespace ipcq::detail {
namespace {

using namespace ipcq_test;
using testing::HasSubstr;

TEST(SchemaText, NamesFieldsKindsOffsetsAndSizes) {
  EXPECT_EQ(schema_text<Tick>(),
            "Tick{time u64 @0; price f64 @8; symbol char[8] @16; side u8 @24; last bool @25; levels i16[3] @26}32");
  EXPECT_EQ(
      schema_text<Scene>(),
      "Scene{number u32 @0; tracks list<Track{name text @0; points list<Point{x f32 @0; y f32 @4}8> @8; open bool "
      "@16}20> @4; grid i32[2][3] @12; image tensor @40}168");
  EXPECT_EQ(schema_text<float>(), "f32");
  EXPECT_EQ(schema_text<Tensor>(), "tensor");
  EXPECT_EQ(schema_text<List<Text>>(), "list<text>");
}

TEST(SchemaText, IsReadBackWithThePlacesThatTheCompilerGave) {
  const SchemaType scene = parse_schema(schema_text<Scene>());
  EXPECT_EQ(scene.bytes, sizeof(Scene));
  EXPECT_EQ(scene.alignment, alignof(Scene));
  ASSERT_EQ(scene.fields.size(), 4u);
  EXPECT_EQ(scene.fields[3].offset, offsetof(Scene, image));
  EXPECT_EQ(scene.fields[2].type.count, 2u);
  EXPECT_EQ(scene.fields[2].type.element->count, 3u);
  EXPECT_EQ(scene.fields[1].type.element->fields[1].type.element->bytes, sizeof(Point));
}

std::string refusal(const std::string& text) {
  return error_of<UsageError>([&] { (void)parse_schema(text); });
}

TEST(SchemaText, OfAnotherFormIsRefusedWithItsPlace) {
  EXPECT_THAT(refusal(""), HasSubstr("character 1 stands its end"));
  EXPECT_THAT(refusal("u65"), HasSubstr("should be a type"));
  EXPECT_THAT(refusal("u64 "), HasSubstr("nothing more"));
  EXPECT_THAT(refusal("A{x u64 @00}8"), HasSubstr("character 11"));
  EXPECT_THAT(refusal("A{x  u64 @0}8"), HasSubstr("a name"));
  EXPECT_THAT(refusal("A{x u64 @0;y u8 @8}16"), HasSubstr("'}'"));
  EXPECT_THAT(refusal("A{}8"), HasSubstr("a name"));
  EXPECT_THAT(refusal("A{1x u64 @0}8"), HasSubstr("a name"));
  EXPECT_THAT(refusal("list<u8"), HasSubstr("'>'"));
  EXPECT_THAT(refusal("u8[0]"), HasSubstr("1 or more"));
  EXPECT_THAT(refusal("u8[18446744073709551617]"), HasSubstr("at most"));
  EXPECT_THAT(refusal(std::string(5000, 'x')), HasSubstr("5000 bytes"));
  EXPECT_THAT(refusal("A\n{"), HasSubstr("\\x0a"));
}

TEST(SchemaText, WhoseFieldsDoNotFitIsRefused) {
  EXPECT_THAT(refusal("A{x u64 @0; y u8 @4}16"), HasSubstr("behind the fields before it"));
  EXPECT_THAT(refusal("A{x u8 @0; x u8 @1}2"), HasSubstr("no field before it"));
  EXPECT_THAT(refusal("A{x u64 @4}16"), HasSubstr("character 10 stands '4}16'"));
  EXPECT_THAT(refusal("A{x u64 @4}16"), HasSubstr("multiple of 8"));
  EXPECT_THAT(refusal("A{x u64 @0}4"), HasSubstr("at least 8"));
  EXPECT_THAT(refusal("A{x u64 @0; y u8 @8}9"), HasSubstr("multiple of 8"));
  EXPECT_THAT(refusal("u64[4294967295][4294967295]"), HasSubstr("4 GiB"));
}

TEST(SchemaText, IsReadToALimitedDepth) {
  std::string deep = "u8";
  for (int i = 0; i < 2000 && deep.size() + 6 < Schema::kMostBytes; ++i) deep = "list<" + deep + ">";
  EXPECT_THAT(refusal(deep), HasSubstr("level"));
  std::string wide = "u8";
  for (int i = 0; i < 1000; ++i) wide += "[1]";
  EXPECT_THAT(refusal(wide), HasSubstr("extents"));
  EXPECT_NO_THROW((void)parse_schema("list<list<u8[1][1][1]>[1][1]>[1][1]"));
  EXPECT_THAT(refusal("list<list<u8[1][1][1][1][1][1][1]>[1][1][1][1]>[1][1][1]"), HasSubstr("fewer"));
}

// Texts with one character changed: refused, or another type.
TEST(SchemaText, WithAnyChangeIsNotTheSameType) {
  const std::string& text = schema_text<Scene>();
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string changed = text;
    changed[random() % changed.size()] = static_cast<char>(' ' + random() % 95);
    if (changed == text) continue;
    try {
      const Schema read = Schema::parse(changed);
      EXPECT_EQ(read.text(), changed);
      EXPECT_NE(read.id(), Schema::parse(text).id());
    } catch (const UsageError&) {
    }
  }
}

}  // namespace
}  // namespace ipcq::detail
