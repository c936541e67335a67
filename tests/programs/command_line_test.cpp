#include "program/command_line.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ipcq/admin.hpp>
#include <ipcq/error.hpp>
#include <optional>
#include <stdexcept>
#include <string>

namespace ipcq::program {
namespace {

bool library_takes(const std::string& name) {
  try {
    (void)fetch_dump(name, "nobody-has-this-name");
  } catch (const UsageError&) {
    return false;
  } catch (const NotFoundError&) {
  }
  return true;
}

TEST(ObjectName, IsWhatTheLibraryTakes) {
  std::vector<std::string> names = {"", std::string(63, 'a'), std::string(64, 'a')};
  for (int byte = 0; byte < 256; ++byte) {
    names.emplace_back(1, static_cast<char>(byte));
    names.push_back(std::string("a") + static_cast<char>(byte));
  }
  for (std::string name : names) EXPECT_EQ(object_name().apply(name).empty(), library_takes(name)) << name;
}

std::optional<int> parse_word(std::string& value) {
  CommandLine line("test");
  line.add_option("--word", value, "A word").required().environment("IPCQ_TEST_WORD");
  std::string program = "test";
  char* arguments[] = {program.data(), nullptr};
  return line.parse(1, arguments);
}

TEST(RequiredOption, MayBeSaidByItsVariable) {
  std::string value;
  testing::internal::CaptureStderr();
  EXPECT_EQ(parse_word(value), 2);
  ::setenv("IPCQ_TEST_WORD", "", 1);  // none
  EXPECT_EQ(parse_word(value), 2);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("--word is required"), std::string::npos);
  ::setenv("IPCQ_TEST_WORD", "said", 1);
  EXPECT_EQ(parse_word(value), std::nullopt);
  EXPECT_EQ(value, "said");
  ::unsetenv("IPCQ_TEST_WORD");
}

// Debian's CLI11 takes more than that of other systems.
TEST(OptionNames, AreThoseThatEveryReleaseTakes) {
  std::string value;
  CommandLine line("test");
  EXPECT_THROW(line.add_option("FILE[:NAME=VALUE...]", value, "A file"), std::logic_error);
  EXPECT_NO_THROW(line.add_option("FILE...", value, "A file"));
}

}  // namespace
}  // namespace ipcq::program
