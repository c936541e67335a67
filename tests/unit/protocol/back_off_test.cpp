#include "protocol/back_off.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace ipcq::detail {
namespace {

std::vector<unsigned> paused;
struct Recorder {
  static void pause(unsigned times) { paused.push_back(times); }
};

TEST(BackOff, PausesTwiceAsLongEachTimeUpToABoundAndLessOnceItWins) {
  paused.clear();
  BackOff<Recorder> b;
  EXPECT_TRUE(b.after(true));
  for (int i = 0; i < 8; ++i) EXPECT_FALSE(b.after(false));
  EXPECT_EQ(paused, (std::vector<unsigned>{16, 32, 64, 128, 256, 512, 512, 512}));
  paused.clear();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(b.after(true));  // 64
  EXPECT_FALSE(b.after(false));
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(b.after(true));
  EXPECT_FALSE(b.after(false));
  EXPECT_EQ(paused, (std::vector<unsigned>{128, 16}));
}

}  // namespace
}  // namespace ipcq::detail
