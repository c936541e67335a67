// Payloads that show gaps, duplicates and torn bytes: they hold producer, sequence and a checksum over every byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

namespace ipcq_test {

struct Stamp {
  std::uint64_t checksum = 0;  // FNV-1a over the rest of the payload
  std::uint64_t sequence = 0;
  std::uint32_t producer = 0;
  std::uint32_t length = 0;
  friend bool operator==(const Stamp&, const Stamp&) = default;
};
inline constexpr std::size_t kStampBytes = sizeof(Stamp);
static_assert(kStampBytes == 24);

inline std::uint64_t fnv1a(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte b : bytes) hash = (hash ^ static_cast<std::uint64_t>(b)) * 0x100000001b3;
  return hash;
}

// Fills `out`, of kStampBytes at least, as message `sequence` of `producer`.
inline void stamp(std::span<std::byte> out, std::uint32_t producer, std::uint64_t sequence) {
  std::uint64_t x = sequence * 0x9e3779b97f4a7c15 + producer;
  for (std::size_t i = kStampBytes; i < out.size(); ++i) {
    x ^= x >> 29, x *= 0xbf58476d1ce4e5b9;
    out[i] = static_cast<std::byte>(x >> 56);
  }
  Stamp s{0, sequence, producer, static_cast<std::uint32_t>(out.size())};
  std::memcpy(out.data(), &s, sizeof s);
  s.checksum = fnv1a(out.subspan(sizeof s.checksum));
  std::memcpy(out.data(), &s.checksum, sizeof s.checksum);
}

inline std::vector<std::byte> stamped(std::uint32_t producer, std::uint64_t sequence, std::size_t bytes = kStampBytes) {
  std::vector<std::byte> out(bytes);
  stamp(out, producer, sequence);
  return out;
}

// The payload's stamp; none if any byte is wrong.
inline std::optional<Stamp> read_stamp(std::span<const std::byte> in) {
  Stamp s;
  if (in.size() < sizeof s) return std::nullopt;
  std::memcpy(&s, in.data(), sizeof s);
  if (s.length != in.size() || s.checksum != fnv1a(in.subspan(sizeof s.checksum))) return std::nullopt;
  return s;
}

// A payload of `bytes` bytes that follow from their places, for lengths without room for a stamp.
inline std::vector<std::byte> patterned(std::size_t bytes, unsigned seed) {
  std::vector<std::byte> out(bytes);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::byte>((i * 31 + i / 256 + seed) & 0xff);
  return out;
}

}  // namespace ipcq_test
