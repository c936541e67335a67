// Types whose schemas the tests name.
#pragma once

#include <array>
#include <cstdint>

#include "ipcq/flat.hpp"

namespace ipcq_test {

enum class Side : std::uint8_t { buy, sell };

struct Tick {
  std::uint64_t time = {};
  double price = {};
  char symbol[8] = {};
  Side side = {};
  bool last = {};
  std::array<std::int16_t, 3> levels = {};
};
IPCQ_SCHEMA(Tick, time, price, symbol, side, last, levels)

// The same names, and one other kind.
struct FloatTick {
  std::uint64_t time = {};
  float price = {};
};
IPCQ_SCHEMA(FloatTick, time, price)

struct Point {
  float x = 0, y = 0;
};
IPCQ_SCHEMA(Point, x, y)

struct Track {
  ipcq::Text name;
  ipcq::List<Point> points;
  bool open = {};
};
IPCQ_SCHEMA(Track, name, points, open)

struct Scene {
  std::uint32_t number = {};
  ipcq::List<Track> tracks;
  std::int32_t grid[2][3] = {};
  ipcq::Tensor image;
};
IPCQ_SCHEMA(Scene, number, tracks, grid, image)

}  // namespace ipcq_test
