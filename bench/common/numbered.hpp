// Messages that carry their number, in batches: what one-way benchmarks send and check. Templates, so that the compiler
// sees the timed loops whole.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "common/peer.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq::bench {

// Sends messages 0 to `count`, a multiple of kBatch, of kBytes each.
template <std::size_t kBatch, std::size_t kBytes>
void send_numbered(Producer& out, std::size_t count) {
  std::vector<std::byte> bytes(kBatch * kBytes);
  std::vector<std::span<const std::byte>> batch;
  for (std::size_t i = 0; i < kBatch; ++i) batch.emplace_back(bytes.data() + i * kBytes, kBytes);
  for (std::size_t n = 0; n < count; n += kBatch) {
    for (std::size_t i = 0; i < kBatch; ++i) {
      const std::size_t number = n + i;
      std::memcpy(bytes.data() + i * kBytes, &number, sizeof number);
    }
    if (out.send_many(batch).status != Status::ok) fail("batch not sent");
  }
}

// Checks and releases messages `n` and on; counts `n` up.
inline void check_numbered(std::span<Message> received, std::size_t& n) {
  for (Message& m : received) {
    if (std::memcmp(m.bytes().data(), &n, sizeof n) != 0) fail("wrong message");
    if (m.release() != Status::ok) fail("release failed");
    ++n;
  }
}

}  // namespace ipcq::bench
