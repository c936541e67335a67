#include <gtest/gtest.h>

#include "redis/reply.hpp"

namespace ipcq_test {
namespace {

using ipcq::bridge::cause_of;

TEST(ReplyTest, ACauseBeginsWithItsCode) {
  EXPECT_EQ(cause_of("WRONGTYPE Operation"), "WRONGTYPE Operation");
  EXPECT_EQ(cause_of(""), "");
  // Of Redis 6.2: a command's own error in call(), the server's in call() and in pcall().
  const std::string in_script = "ERR Error running script (call to f_0eace11bde4dc45f400b1e9b9e3193497e7581da): ";
  EXPECT_EQ(cause_of(in_script + "@user_script:1: WRONGTYPE Operation"), "WRONGTYPE Operation");
  EXPECT_EQ(cause_of(in_script + "@user_script:12: @user_script: 12: -OOM command not allowed"),
            "OOM command not allowed");
  EXPECT_EQ(cause_of("@user_script: 1: -READONLY You can't write"), "READONLY You can't write");
  EXPECT_EQ(cause_of("@user_script: 103: The user executing the script can't"), "The user executing the script can't");
  // Of Redis since 7.0.
  EXPECT_EQ(cause_of("OOM command not allowed script: e6bea880cb17a6a56c11c87ac857281e49af4c9d, on @user_script:1."),
            "OOM command not allowed");
  EXPECT_EQ(cause_of("ERR of another script: mine"), "ERR of another script: mine");
  // What is cut short.
  EXPECT_EQ(cause_of("ERR Error running script (call to"), "ERR Error running script (call to");
  EXPECT_EQ(cause_of("@user_script:"), "@user_script:");
  EXPECT_EQ(cause_of("@user_script: 1: "), "");
}

}  // namespace
}  // namespace ipcq_test
