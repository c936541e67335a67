#include "streams/entry.hpp"

#include <gtest/gtest.h>

namespace ipcq_test {
namespace {

using ipcq::bridge::parse_reply_to;

TEST(EntryTest, AReplyGoesToAKeyOfAKind) {
  for (const std::string kind : {"stream", "list", "key", "channel"}) {
    const auto to = parse_reply_to(kind + ":answers:1");
    ASSERT_TRUE(to.has_value());
    EXPECT_EQ(to->kind, kind);
    EXPECT_EQ(to->key, "answers:1");
  }
}

TEST(EntryTest, ANameAloneIsAList) {
  const auto to = parse_reply_to("answers:1");
  ASSERT_TRUE(to.has_value());
  EXPECT_EQ(to->kind, "list");
  EXPECT_EQ(to->key, "answers:1");
}

TEST(EntryTest, AReplyWithoutANameIsNone) {
  EXPECT_FALSE(parse_reply_to(""));
  EXPECT_FALSE(parse_reply_to("list:"));
}

}  // namespace
}  // namespace ipcq_test
