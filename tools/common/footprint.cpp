#include "common/footprint.hpp"

namespace ipcq::program {
namespace {

// As libipcq/src/queue_map.cpp lays a pool out.
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kLine = 128;
constexpr std::uint64_t kDeviceBlock = 2U << 20;
constexpr std::uint64_t kSlotWords = 16;

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

std::uint64_t payload_bytes(std::uint64_t slots, std::uint64_t slot_bytes) {
  return slots * round_up(slot_bytes, slot_bytes >= kPage ? kPage : kLine);
}

}  // namespace

Footprint host_footprint(std::uint64_t slots, std::uint64_t slot_bytes) {
  return {.shared = payload_bytes(slots, slot_bytes)};
}

Footprint device_footprint(std::uint64_t slots, std::uint64_t slot_bytes, Mirror mirror) {
  const std::uint64_t payloads = payload_bytes(slots, slot_bytes);
  const std::uint64_t mirrored = mirror == Mirror::full ? payloads : 0;
  return {.vram = round_up(payloads, kDeviceBlock), .pinned = mirrored + slots * kSlotWords, .shared = mirrored};
}

}  // namespace ipcq::program
