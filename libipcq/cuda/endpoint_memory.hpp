// What kernels of this process reach of a queue: payloads, mapped from the pool's owner (or their copies in host
// memory), and the pinned words of the protocol. Set-up throws BackendError; everything that is made here lives as long
// as the session has the queue and pool mapped (session_maps.hpp), and is then unmapped and unpinned by the deferred
// unpin, because that may wait for the GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client/session_core.hpp"
#include "driver.hpp"
#include "ipcq/cuda.hpp"
#include "stream_view.hpp"

namespace ipcq::detail {

// Who may reach the cores of a user's endpoints.
struct CudaAccess {
  static ProducerCore* core(Producer& producer) noexcept { return producer.core_.get(); }
  static ConsumerCore* core(Consumer& consumer) noexcept { return consumer.core_.get(); }
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

}  // namespace ipcq::detail
