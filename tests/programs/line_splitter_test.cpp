// Lines cut out of chunks that come as they come.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "program/line_splitter.hpp"

namespace ipcq::program {
namespace {

using testing::ElementsAre;

// Feeds `text` in chunks of `chunk` bytes.
std::vector<std::string> split(const std::string& text, std::size_t chunk, std::size_t capacity) {
  LineSplitter splitter(capacity);
  std::vector<std::string> lines;
  const auto take = [&] {
    while (const auto line = splitter.next()) lines.emplace_back(*line);
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto space = splitter.space();
    if (space.empty()) return {"(too long)"};
    const std::size_t count = std::min({chunk, space.size(), text.size() - at});
    std::memcpy(space.data(), text.data() + at, count);
    splitter.fill(count);
    at += count;
    take();
  }
  splitter.finish();
  take();
  return lines;
}

TEST(LineSplitter, LinesMayCrossChunksAnywhere) {
  const std::string text = "one\n\ntwo two\nthree\n\n";
  for (std::size_t chunk = 1; chunk <= text.size(); ++chunk) {
    EXPECT_THAT(split(text, chunk, 16), ElementsAre("one\n", "\n", "two two\n", "three\n", "\n")) << "chunk " << chunk;
  }
}

TEST(LineSplitter, LastLineNeedsNoNewline) {
  EXPECT_THAT(split("a\nlast", 3, 16), ElementsAre("a\n", "last"));
  EXPECT_THAT(split("", 3, 16), ElementsAre());
}

TEST(LineSplitter, KeepsZeroBytes) {
  EXPECT_THAT(split(std::string("a\0b\n", 4), 2, 16), ElementsAre(std::string("a\0b\n", 4)));
}

TEST(LineSplitter, FullBufferWithoutNewlineShowsAsNoSpace) {
  EXPECT_THAT(split("0123456\n", 8, 8), ElementsAre("0123456\n"));
  EXPECT_THAT(split("012345678\n", 8, 8), ElementsAre("(too long)"));
}

}  // namespace
}  // namespace ipcq::program
