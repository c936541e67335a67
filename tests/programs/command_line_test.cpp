#include "program/command_line.hpp"

#include <gtest/gtest.h>

#include <ipcq/admin.hpp>
#include <ipcq/error.hpp>

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

}  // namespace
}  // namespace ipcq::program
