// Changes the executor of device queues between a persistent kernel and kernels on a stream.
//
// A switch is a control message in the ring: what comes before its ticket is done by the old executor, what comes after
// it by the new one. A queue that is full has no place for one: set() then refuses, and the switch of prefer_stream()
// waits.
//
// Thread safety: guarded by the broker's mutex.
#pragma once

#include <string>

#include "broker/broker_context.hpp"
#include "broker/registry.hpp"
#include "control/control.hpp"

namespace ipcq::detail {

class ExecutorSwitch {
 public:
  ExecutorSwitch(BrokerContext& context, Registry& registry, const RunnerSupervisor& supervisor)
      : context_(context), registry_(registry), supervisor_(supervisor) {}

  // On a user's request. Throws UsageError if the queue has no GPU executor, or `kind` names none.
  Reply set(QueueEntry& q, ExecutorKind kind);
  // Called when a client with a GPU attaches: without MPS, a persistent kernel costs each GPU operation of the client a
  // time slice.
  void prefer_stream(QueueEntry& q);
  // Publishes the switches that found no place, where there is one now. Returns is_waiting().
  bool try_again();
  bool is_waiting() const noexcept { return waiting_; }

 private:
  static ClaimOutcome publish_switch(QueueEntry& q, ExecutorKind kind);

  BrokerContext& context_;
  Registry& registry_;
  const RunnerSupervisor& supervisor_;
  bool waiting_ = false;
};

}  // namespace ipcq::detail
