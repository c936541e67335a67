// One context's view of the queue of one endpoint, and what streams of that context do for the protocol. The order that
// they give is said in docs/design/cuda.md. From any thread; the view's context need not be current.
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

// How kernels reach payloads: in VRAM, in the mirror of a device pool, in a pool in host memory.
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

CUresult enqueue_write(const View& view, cuda::Stream stream, Word& word, std::uint64_t value) noexcept;
CUresult enqueue_wait(const View& view, cuda::Stream stream, const Word& word, std::uint64_t at_least) noexcept;
CUresult enqueue_wait(const View& view, cuda::Stream stream, const std::uint32_t* word,
                      std::uint32_t at_least) noexcept;
// Whether a context has failed or is gone: nothing that was enqueued there will be done any more.
bool is_broken(const View& view) noexcept;
// Of one that is: "its GPU context has failed (a kernel faulted)", or what else became of it.
std::string why_broken(const View& view);
CUresult query(const View& view, cuda::Stream stream) noexcept;
// Whether what is enqueued now would become part of a graph, which does it whenever it is launched.
bool is_capturing(const View& view, cuda::Stream stream) noexcept;
// Of a stream of the current context.
bool is_capturing(cuda::Stream stream) noexcept;

// Whether a word of leases has come to `lease`; leases never wrap.
inline bool reached(const Word& word, std::uint64_t lease) noexcept {
  // SYNC gpub (acquire): what the stream did before its write. Pairs with: enqueue_write.
  return static_cast<std::int64_t>(word.load(std::memory_order_acquire) - lease) >= 0;
}

}  // namespace ipcq::detail
