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
  b.won();
  for (int i = 0; i < 8; ++i) b.lost();
  EXPECT_EQ(paused, (std::vector<unsigned>{16, 32, 64, 128, 256, 512, 512, 512}));
  paused.clear();
  for (int i = 0; i < 3; ++i) b.won();  // 64
  b.lost();
  for (int i = 0; i < 20; ++i) b.won();
  b.lost();
  EXPECT_EQ(paused, (std::vector<unsigned>{128, 16}));
}

}  // namespace
}  // namespace ipcq::detail
