// What kernels of this process reach of a queue: payloads, mapped from the pool's owner (or their copies in host
// memory), and the pinned words of the protocol. Set-up throws BackendError; everything that is made here lives as long
// as the session has the queue and pool mapped (session_maps.hpp), and is then unmapped and unpinned by the deferred
// unpin, because that may wait for the GPU.
//
// Pinned host memory has the same address on the CPU and on every GPU (checked at set-up), so nothing translates
// addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client/session_core.hpp"
#include "driver.hpp"
#include "ipcq/cuda.hpp"

namespace ipcq::detail {

// Who may reach the cores of a user's endpoints.
struct CudaAccess {
  static ProducerCore* core(Producer& producer) noexcept { return producer.core_.get(); }
  static ConsumerCore* core(Consumer& consumer) noexcept { return consumer.core_.get(); }
};

// A context, current while this lives. Does nothing where it is current already, as it mostly is; false where the
// context is gone.
class ContextScope {
 public:
  explicit ContextScope(const Context& context) noexcept;
  ~ContextScope();
  explicit operator bool() const noexcept { return usable_; }
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;

 private:
  bool usable_ = false;
  bool pushed_ = false;
};

// Lets this thread make calls, while this lives, that a capture of another thread would refuse and be spoilt by.
class BesideCaptures {
 public:
  BesideCaptures() noexcept { exchange(); }
  ~BesideCaptures() { exchange(); }
  BesideCaptures(const BesideCaptures&) = delete;
  BesideCaptures& operator=(const BesideCaptures&) = delete;

 private:
  void exchange() noexcept;
  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;
};

// A stream of a context, on which nothing is ever enqueued: asking it says whether the context has failed.
class ProbeStream {
 public:
  // Throws BackendError.
  ProbeStream(const Context& context, const std::string& object);
  ~ProbeStream();
  ProbeStream(const ProbeStream&) = delete;
  ProbeStream& operator=(const ProbeStream&) = delete;
  CUresult query() const noexcept;

 private:
  Context context_;
  CUstream stream_ = nullptr;
};

// The exported block of a device pool, as a context has it. One context of a process may open it.
class DeviceBlock {
 public:
  // Throws BackendError.
  DeviceBlock(const Context& context, const PoolHeader& pool, const std::string& object);
  ~DeviceBlock();
  DeviceBlock(const DeviceBlock&) = delete;
  DeviceBlock& operator=(const DeviceBlock&) = delete;
  std::byte* payloads() const noexcept { return payloads_; }

 private:
  Context context_;
  CUdeviceptr base_ = 0;
  std::byte* payloads_ = nullptr;
};

// Zeroed pinned memory of this process, for GPUs of any context. Reused by later owners, never unpinned or unmapped.
class HostBlock {
 public:
  HostBlock(const Context& context, std::size_t bytes, const std::string& object);
  ~HostBlock();
  HostBlock(const HostBlock&) = delete;
  HostBlock& operator=(const HostBlock&) = delete;
  void* data() const noexcept { return data_; }

 private:
  Context context_;
  std::size_t bytes_;
  void* data_ = nullptr;
};

// How kernels reach payloads: in VRAM, in the mirror of a device pool, in a pool in host memory.
enum class Reach : std::uint8_t { device, mirror, host };

// One context's view of the queue of one endpoint.
struct View {
  Context context;
  Reach reach = Reach::device;
  std::byte* payloads = nullptr;
  std::uint64_t stride = 0;
  std::shared_ptr<DeviceBlock> block;
  std::shared_ptr<ProbeStream> probe;
  std::byte* payload(std::uint32_t slot) const noexcept { return payloads + std::uint64_t{slot} * stride; }
};

class EndpointMemory {
 public:
  // `reads`: for a consumer, which needs the queue's lines, and in a mirror what was processed.
  EndpointMemory(SessionCore& session, std::shared_ptr<QueueMap> queue, std::shared_ptr<PoolMap> pool, bool reads);

  // For the context of `stream`. The first call for a context sets up; throws BackendError, UsageError (no context, the
  // stream captures, or a device was reset since).
  const View& view(cuda::Stream stream);

  const std::vector<std::unique_ptr<View>>& views() const noexcept { return views_; }

  const QueueMap& queue() const noexcept { return *queue_; }
  const PoolMap& pool() const noexcept { return *pool_; }
  // "consumer of queue 'frames'", for errors.
  const std::string& object() const noexcept { return object_; }

 private:
  const View& make_view(const Context& context);
  void pin(const Context& context, std::shared_ptr<const void> map, void* data, std::uint64_t bytes,
           const std::string& what);
  void pin_payloads(View& view);
  void open_probe(View& view);

  SessionCore& session_;
  std::shared_ptr<QueueMap> queue_;
  std::shared_ptr<PoolMap> pool_;
  bool reads_;
  std::string object_;
  std::vector<std::unique_ptr<View>> views_;  // one a context; more than one is rare
  std::vector<std::shared_ptr<void>> pins_;   // stays pinned as long as this lives
};

// Stream operations of the protocol; the view's context need not be current. The order that they give is said in
// docs/design/cuda.md.
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

// Whether a word of leases has come to `lease`; leases never wrap.
inline bool reached(const Word& word, std::uint64_t lease) noexcept {
  // SYNC gpub (acquire): what the stream did before its write. Pairs with: enqueue_write.
  return static_cast<std::int64_t>(word.load(std::memory_order_acquire) - lease) >= 0;
}

}  // namespace ipcq::detail
