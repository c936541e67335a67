// A step of inference: a message's matrix A (n rows of kInputs floats) becomes A * W (n rows of kOutputs).
//
// W is worked out from matmul.hpp once a message, into scratch memory, since nothing stays from one message to the
// next. Where weights come from memory, the line that calls weight() is the one to change.
#include <ipcq/handler.hpp>

#include "matmul.hpp"

struct Matmul {
  static constexpr unsigned kTileRows = 32;  // of A at a time
  static constexpr auto sharing = ipcq::Sharing::block;
  static constexpr unsigned scratch_bytes = (kInputs * kOutputs + kTileRows * kInputs) * sizeof(float);
  static_assert(kOutputs <= kInputs, "the product lies where rows of A were, which must have been read by then");

  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t length) {
    return length != 0 && length % (kInputs * sizeof(float)) == 0;
  }

  template <class Team>
  IPCQ_HOST_DEVICE void operator()(ipcq::HandlerMessage& m, Team team) const {
    const auto numbers = m.elements<float>();  // A, and from the front on the product
    const std::uint64_t rows = numbers.size() / kInputs;
    auto* const w = reinterpret_cast<float*>(team.scratch());
    float* const tile = w + kInputs * kOutputs;
    for (std::uint64_t i = team.rank(); i < kInputs * kOutputs; i += team.size()) {
      w[i] = weight(i / kOutputs, i % kOutputs);
    }
    for (std::uint64_t first = 0; first < rows; first += kTileRows) {
      const std::uint64_t tile_rows = rows - first < kTileRows ? rows - first : kTileRows;
      for (std::uint64_t i = team.rank(); i < tile_rows * kInputs; i += team.size()) {
        tile[i] = numbers[first * kInputs + i];
      }
      team.sync();  // W and the tile are whole
      for (std::uint64_t i = team.rank(); i < tile_rows * kOutputs; i += team.size()) {
        const float* const row = tile + i / kOutputs * kInputs;
        const float* const column = w + i % kOutputs;
        float sum = 0;
        for (unsigned k = 0; k < kInputs; ++k) sum += row[k] * column[k * kOutputs];
        numbers[first * kOutputs + i] = sum;
      }
      team.sync();  // nobody reads the tile any more
    }
    m.resize(rows * kOutputs * sizeof(float));
  }
};
IPCQ_HANDLER(Matmul)
