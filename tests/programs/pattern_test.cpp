// The 4K test frames: the formula, and the check that finds every wrong byte of them, with each handler.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ipcq/builtin_handlers.hpp"
#include "ipcq/error.hpp"
#include "program/pattern.hpp"

namespace ipcq::program {
namespace {

class Pattern : public testing::TestWithParam<const char*> {
 protected:
  // The frame as a queue with the handler would deliver it.
  static std::vector<std::byte> frame(std::uint64_t sequence) {
    std::vector<std::byte> bytes(Pattern4k::kFrameBytes);
    Pattern4k().generate(sequence, bytes);
    if (*GetParam() != '\0') {
      EXPECT_TRUE(find_host_handler(GetParam())(bytes.data(), bytes.size()));
    }
    return bytes;
  }
};

TEST(Pattern4k, IsTheFormulaPixelByPixel) {
  std::vector<std::byte> frame(Pattern4k::kFrameBytes);
  for (const std::uint64_t f : {std::uint64_t{0}, std::uint64_t{7}, std::uint64_t{255}, std::uint64_t{1000003}}) {
    Pattern4k().generate(f, frame);
    std::uint64_t wrong = 0;
    for (std::uint64_t y = 0; y < 2160; ++y) {
      for (std::uint64_t x = 0; x < 3840; ++x) {
        const std::byte* const pixel = &frame[(y * 3840 + x) * 3];
        wrong += pixel[0] != static_cast<std::byte>((x + f) % 256);
        wrong += pixel[1] != static_cast<std::byte>((y + f) % 256);
        wrong += pixel[2] != static_cast<std::byte>((x + y + f) % 256);
      }
    }
    EXPECT_EQ(wrong, 0U) << "frame " << f;
  }
}

TEST_P(Pattern, AcceptsTheRightFrameAndNoOther) {
  Pattern4k check(GetParam());
  const auto bytes = frame(300);
  EXPECT_EQ(check.bad_bytes(300, bytes), 0U);
  EXPECT_GT(check.bad_bytes(301, bytes), 0U);
}

TEST_P(Pattern, FindsOneFlippedBit) {
  Pattern4k check(GetParam());
  auto bytes = frame(5);
  for (const std::size_t at : {std::size_t{0}, std::size_t{767}, std::size_t{768}, Pattern4k::kRowBytes,
                               std::size_t{12345678}, Pattern4k::kFrameBytes - 1}) {
    bytes[at] ^= std::byte{1};
    EXPECT_EQ(check.bad_bytes(5, bytes), 1U) << "byte " << at;
    bytes[at] ^= std::byte{1};
  }
}

TEST_P(Pattern, CountsBytesTooFewAndTooMany) {
  Pattern4k check(GetParam());
  auto bytes = frame(5);
  EXPECT_EQ(check.bad_bytes(5, std::span(bytes).first(1000)), Pattern4k::kFrameBytes - 1000);
  EXPECT_EQ(check.bad_bytes(5, {}), Pattern4k::kFrameBytes);
  bytes.resize(Pattern4k::kFrameBytes + 3);
  EXPECT_EQ(check.bad_bytes(5, bytes), 3U);
}

INSTANTIATE_TEST_SUITE_P(Handlers, Pattern, testing::Values("", "identity", "invert", "upper", "vector_add"),
                         [](const auto& handler) {
                           return std::string(*handler.param != '\0' ? handler.param : "none");
                         });

TEST(Pattern4k, RefusesAHandlerItCannotRecompute) { EXPECT_THROW(Pattern4k("blur"), UsageError); }

}  // namespace
}  // namespace ipcq::program
