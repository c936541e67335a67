#include "streams/payload_template.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <ipcq/error.hpp>
#include <map>

#include "errors.hpp"

namespace ipcq_test {
namespace {

using ipcq::UsageError;
using ipcq::bridge::PayloadTemplate;
using testing::HasSubstr;

const std::map<std::string, std::string, std::less<>> kFields = {
    {"symbol", "ABC"}, {"price", "1.5"}, {"count", "-3"}, {"a:b", "colon"}, {"empty", ""}};

std::string make(const std::string& text, std::string* why = nullptr) {
  std::string payload;
  const auto wrong = PayloadTemplate(text).make(
      [](std::string_view name) -> std::optional<std::string_view> {
        const auto found = kFields.find(name);
        return found == kFields.end() ? std::nullopt : std::optional<std::string_view>(found->second);
      },
      payload);
  if (why != nullptr) *why = wrong;
  return payload;
}

template <class T>
std::string bytes_of(T value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}

TEST(PayloadTemplateTest, FieldsStandInText) {
  EXPECT_EQ(make(R"({symbol},{price}\n)"), "ABC,1.5\n");
  EXPECT_EQ(make("{{{symbol}}}"), "{ABC}");
  EXPECT_EQ(make(R"(\x41\t\0\\{symbol})"), std::string("A\t\0\\ABC", 7));
  EXPECT_EQ(make("{a:b}{empty}"), "colon");
}

TEST(PayloadTemplateTest, NumbersAreBinary) {
  EXPECT_EQ(make("{price:f32}{price:f64}{count:i8}{count:i64}"),
            bytes_of(1.5F) + bytes_of(1.5) + bytes_of<std::int8_t>(-3) + bytes_of<std::int64_t>(-3));
}

TEST(PayloadTemplateTest, WhatAnEntryLacksIsNamed) {
  std::string why;
  make("{symbol}{none}", &why);
  EXPECT_THAT(why, HasSubstr("it has no field 'none'"));
  make("{count:u8}", &why);
  EXPECT_THAT(why, HasSubstr("its field 'count' is no u8"));
  make("{price:i32}", &why);
  EXPECT_THAT(why, HasSubstr("is no i32"));
  make("{empty:f32}", &why);
  EXPECT_THAT(why, HasSubstr("is no f32"));
}

TEST(PayloadTemplateTest, WhatIsNoTemplateIsRefused) {
  for (const char* text : {"", "text", "{", "{}", "{a", "a}", R"(\q{a})", R"(\x4{a})", "{:f32}"}) {
    EXPECT_THAT(error_of<UsageError>([&] { PayloadTemplate{text}; }), HasSubstr("--template: ")) << text;
  }
}

}  // namespace
}  // namespace ipcq_test
