// What users see of the build: one header brings everything in, the versions agree, the interface needs no other one.
#include <gtest/gtest.h>

#include <string>
#include <type_traits>

#include "ipcq/ipcq.hpp"

namespace {

TEST(PublicHeaders, NameTheVersionOfTheProject) {
  EXPECT_EQ(std::string(ipcq::kVersion), IPCQ_VERSION);
  EXPECT_EQ(ipcq::kAbiVersion, 2u);
}

TEST(PublicHeaders, HandlesMoveAndDoNotCopy) {
  const auto moves_only = []<class T>(std::type_identity<T>) {
    return std::is_nothrow_move_constructible_v<T> && !std::is_copy_constructible_v<T>;
  };
  EXPECT_TRUE(moves_only(std::type_identity<ipcq::Session>{}));
  EXPECT_TRUE(moves_only(std::type_identity<ipcq::Producer>{}));
  EXPECT_TRUE(moves_only(std::type_identity<ipcq::Consumer>{}));
  EXPECT_TRUE(moves_only(std::type_identity<ipcq::Loan>{}));
  EXPECT_TRUE(moves_only(std::type_identity<ipcq::Message>{}));
  EXPECT_TRUE(moves_only(std::type_identity<ipcq::Broker>{}));
}

}  // namespace
