// Pattern4k: the moving RGB test picture, written and checked at memory speed.
//
// Pixel (x, y) of frame f: R = (x + f) % 256, G = (y + f) % 256, B = (x + y + f) % 256, f the message's sequence
// number. The picture repeats every 256 pixels both ways, and frame f is frame 0 with f added to every byte. So a tile
// of 256 x 256 pixels, 192 KiB, has all of a frame's content and fits a core's cache. For one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ipcq/builtin_handlers.hpp>
#include <span>
#include <string_view>
#include <vector>

namespace ipcq::program {

class Pattern4k {
 public:
  static constexpr std::size_t kWidth = 3840;
  static constexpr std::size_t kHeight = 2160;
  static constexpr std::size_t kRowBytes = kWidth * 3;
  static constexpr std::size_t kFrameBytes = kRowBytes * kHeight;
  static constexpr std::size_t kTile = 256;  // pixels each way
  static constexpr std::size_t kTileRowBytes = kTile * 3;
  static_assert(kRowBytes % kTileRowBytes == 0);

  // `handler`: what the queue does to each frame, for bad_bytes(). Throws UsageError when it is not built in.
  explicit Pattern4k(std::string_view handler = {});

  // Writes a frame as a producer publishes it. frame.size() must be kFrameBytes.
  void generate(std::uint64_t sequence, std::span<std::byte> frame);

  // Number of bytes of a received frame that differ from the published frame after the handler; a byte too many or too
  // few counts as well.
  std::uint64_t bad_bytes(std::uint64_t sequence, std::span<const std::byte> received);

 private:
  void make_tile(std::uint64_t sequence);
  std::uint64_t bad_bytes_of_whole(std::uint64_t sequence, std::span<const std::byte> received);

  HostHandler handler_ = nullptr;  // null: none
  bool bytewise_ = true;           // the handler changes each byte by itself, so it may work on the tile
  std::vector<std::byte> base_;    // tile of frame 0
  std::vector<std::byte> tile_;    // tile of the present frame
  std::vector<std::byte> whole_;   // a whole expected frame, for a handler that is not bytewise
};

}  // namespace ipcq::program
