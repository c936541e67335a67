// Handlers by their names, as host workers run them.
#include "ipcq/builtin_handlers.hpp"

#include <gmock/gmock.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace ipcq_test {
namespace {

using namespace ipcq;
using testing::ElementsAre;

std::string run(const char* name, std::string text) {
  EXPECT_TRUE(find_host_handler(name)(reinterpret_cast<std::byte*>(text.data()), text.size())) << name;
  return text;
}

TEST(Handler, IsFoundByItsWholeName) {
  EXPECT_THAT(handler_names(), ElementsAre("identity", "invert", "upper", "vector_add"));
  for (const auto& name : handler_names()) EXPECT_NE(find_host_handler(name), nullptr) << name;
  for (const char* const other : {"", "inver", "invertx", "Invert"}) EXPECT_EQ(find_host_handler(other), nullptr);
}

// Of every length: its words are done several at a time, the rest byte by byte.
TEST(Handler, DoesEachByteOfAnyLength) {
  for (std::size_t length = 0; length <= 300; ++length) {
    std::string text;
    for (std::size_t i = 0; i < length; ++i) text += static_cast<char>(i);
    std::string inverted = text;
    std::string upper = text;
    for (char& c : inverted) c = static_cast<char>(~c);
    for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    EXPECT_EQ(run("identity", text), text) << length;
    EXPECT_EQ(run("invert", text), inverted) << length;
    EXPECT_EQ(run("upper", text), upper) << length;
  }
}

TEST(Handler, ChangesNothingBeyondTheLength) {
  std::string text(64, 'a');
  ASSERT_TRUE(find_host_handler("upper")(reinterpret_cast<std::byte*>(text.data()), 37));
  EXPECT_EQ(text, std::string(37, 'A') + std::string(27, 'a'));
}

TEST(Handler, RefusesALengthThatItCannotWorkOn) {
  EXPECT_FALSE(handler_accepts("vector_add", 5));
  std::byte data[5] = {};
  EXPECT_FALSE(find_host_handler("vector_add")(data, sizeof data));
  EXPECT_TRUE(handler_accepts("invert", 5));
  EXPECT_TRUE(handler_accepts("unknown", 5));  // whoever runs that one knows
}

}  // namespace
}  // namespace ipcq_test
