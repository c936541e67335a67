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

// Sends messages 0 to `count`, a multiple of Batch, of Bytes each.
template <std::size_t Batch, std::size_t Bytes>
void send_numbered(Producer& out, std::size_t count) {
  std::vector<std::byte> bytes(Batch * Bytes);
  std::vector<std::span<const std::byte>> batch;
  for (std::size_t i = 0; i < Batch; ++i) batch.emplace_back(bytes.data() + i * Bytes, Bytes);
  for (std::size_t n = 0; n < count; n += Batch) {
    for (std::size_t i = 0; i < Batch; ++i) {
      const std::size_t number = n + i;
      std::memcpy(bytes.data() + i * Bytes, &number, sizeof number);
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
