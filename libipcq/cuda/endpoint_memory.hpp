// Gives the GPU access to one endpoint's queue, context by context: maps the pool's VRAM, or else pins payloads in host
// memory, and pins the words of the protocol. Endpoints of the process share what is mapped and pinned.
//
// For the endpoint's thread. Invariant: what is set up here lives as long as the session has queue and pool mapped
// (session_maps.hpp). The deferred unpin then unmaps and unpins it, since either may wait for the GPU.
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

// A friend of Producer and Consumer, which gives ipcq::cuda their cores.
struct CudaAccess {
  static ProducerCore* core(Producer& producer) noexcept { return producer.core_.get(); }
  static ConsumerCore* core(Consumer& consumer) noexcept { return consumer.core_.get(); }
};

class EndpointMemory {
 public:
  // `reads`: for a consumer, which needs the queue's lines, and of a mirror the processed payloads.
  EndpointMemory(SessionCore& session, std::shared_ptr<QueueMap> queue, std::shared_ptr<PoolMap> pool, bool reads);

  // The view of the stream's context. The first call for a context sets it up. Throws BackendError, and UsageError: no
  // context is current, the stream captures, or a context used before no longer exists.
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
  std::vector<std::unique_ptr<View>> views_;  // one per context; more than one is rare
  std::vector<std::shared_ptr<void>> pins_;   // what must stay pinned while this lives
};

}  // namespace ipcq::detail
