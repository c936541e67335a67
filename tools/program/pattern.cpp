#include "program/pattern.hpp"

#include <algorithm>
#include <cstring>
#include <ipcq/error.hpp>
#include <string>

namespace ipcq::program {
namespace {

std::uint64_t count_differences(const std::byte* a, const std::byte* b, std::size_t length) {
  if (length == 0 || std::memcmp(a, b, length) == 0) return 0;
  std::uint64_t bad = 0;
  for (std::size_t i = 0; i < length; ++i) bad += a[i] != b[i] ? 1U : 0U;
  return bad;
}

}  // namespace

Pattern4k::Pattern4k(std::string_view handler) : base_(kTile * kTileRowBytes), tile_(base_.size()) {
  if (!handler.empty()) {
    handler_ = find_host_handler(handler);
    if (handler_ == nullptr) {
      throw UsageError("handler '" + std::string(handler) +
                       "' is not built in: what it makes of a frame is not known here");
    }
    bytewise_ = handler == "identity" || handler == "invert" || handler == "upper";
  }
  std::byte* at = base_.data();
  for (std::size_t y = 0; y < kTile; ++y) {
    for (std::size_t x = 0; x < kTile; ++x) {
      *at++ = static_cast<std::byte>(x);
      *at++ = static_cast<std::byte>(y);
      *at++ = static_cast<std::byte>(x + y);
    }
  }
}

void Pattern4k::make_tile(std::uint64_t sequence) {
  const auto f = static_cast<unsigned char>(sequence);
  std::transform(base_.begin(), base_.end(), tile_.begin(), [f](std::byte value) {
    return static_cast<std::byte>(static_cast<unsigned char>(static_cast<unsigned char>(value) + f));
  });
}

void Pattern4k::generate(std::uint64_t sequence, std::span<std::byte> frame) {
  make_tile(sequence);
  std::byte* at = frame.data();
  for (std::size_t y = 0; y < kHeight; ++y) {
    const std::byte* const row = tile_.data() + (y % kTile) * kTileRowBytes;
    for (std::size_t x = 0; x < kRowBytes; x += kTileRowBytes, at += kTileRowBytes) {
      std::memcpy(at, row, kTileRowBytes);
    }
  }
}

std::uint64_t Pattern4k::bad_bytes(std::uint64_t sequence, std::span<const std::byte> received) {
  const std::size_t length = std::min(received.size(), kFrameBytes);
  std::uint64_t bad = std::max(received.size(), kFrameBytes) - length;
  if (!bytewise_) return bad + bad_bytes_of_whole(sequence, received.first(length));
  make_tile(sequence);
  if (handler_ != nullptr) handler_(tile_.data(), tile_.size());
  for (std::size_t at = 0; at < length; at += kTileRowBytes) {
    const std::byte* const row = tile_.data() + (at / kRowBytes % kTile) * kTileRowBytes;
    bad += count_differences(received.data() + at, row, std::min(kTileRowBytes, length - at));
  }
  return bad;
}

std::uint64_t Pattern4k::bad_bytes_of_whole(std::uint64_t sequence, std::span<const std::byte> received) {
  whole_.resize(kFrameBytes);
  generate(sequence, whole_);
  handler_(whole_.data(), whole_.size());
  return count_differences(received.data(), whole_.data(), received.size());
}

}  // namespace ipcq::program
