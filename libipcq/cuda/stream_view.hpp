// How streams of one context reach an endpoint's queue (View), and the stream operations of the protocol: writes of and
// waits for its words, enqueued behind the stream's earlier work. docs/design/cuda.md, "Clients with a GPU".
//
// A View does not change once it is made. All functions are thread-safe; where they take a View, its context need not
// be current.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "context_scope.hpp"
#include "device_block.hpp"
#include "ipcq/cuda.hpp"
#include "layout/atomic.hpp"

namespace ipcq::detail {

// Where kernels read and write payloads: in VRAM, in the mirror of a device pool, or in a pool in host memory.
enum class Reach : std::uint8_t { device, mirror, host };

struct View {
  Context context;
  Reach reach = Reach::device;
  std::byte* payloads = nullptr;
  std::uint64_t stride = 0;
  std::shared_ptr<DeviceBlock> block;
  std::shared_ptr<ProbeStream> probe;
  std::byte* payload(std::uint32_t slot) const noexcept { return payloads + std::uint64_t{slot} * stride; }
};

// A write of, and waits for, one word. The waits compare greater or equal, cyclically.
CUresult enqueue_write(const View& view, cuda::Stream stream, Word& word, std::uint64_t value) noexcept;
CUresult enqueue_wait(const View& view, cuda::Stream stream, const Word& word, std::uint64_t at_least) noexcept;
CUresult enqueue_wait(const View& view, cuda::Stream stream, const std::uint32_t* word,
                      std::uint32_t at_least) noexcept;
// Whether the view's context has failed or no longer exists: nothing that was enqueued there will be done any more.
bool is_broken(const View& view) noexcept;
// Why it is broken: "its GPU context has failed (a kernel faulted)", a reset of its device, or the exit of the process.
std::string why_broken(const View& view);
// cuStreamQuery.
CUresult query(const View& view, cuda::Stream stream) noexcept;
// Whether the stream captures: what is enqueued now would become part of a graph, and happen at each of its launches.
bool is_capturing(const View& view, cuda::Stream stream) noexcept;
// The same for a stream of the current context.
bool is_capturing(cuda::Stream stream) noexcept;

// Whether a word of leases has reached `lease`; leases never wrap.
inline bool reached(const Word& word, std::uint64_t lease) noexcept {
  // SYNC gpub (acquire): what the stream did before its write. Pairs with: enqueue_write.
  return static_cast<std::int64_t>(word.load(std::memory_order_acquire) - lease) >= 0;
}

}  // namespace ipcq::detail
