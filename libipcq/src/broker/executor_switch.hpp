// Changes the executor of device queues between a persistent kernel and kernels on a stream.
//
// A switch is a control message in the ring: what comes before its ticket is done by the old executor, what comes after
// it by the new one. A queue that is full has no place for one; a switch that the broker itself wants then waits.
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

  // Because a user asks. Throws UsageError for a queue or an executor that cannot be.
  Reply set(QueueEntry& q, ExecutorKind kind);
  // Because a client with a GPU attaches: without MPS a kernel that stays would cost each of them a time slice per
  // operation.
  void prefer_stream(QueueEntry& q);
  // Tries those again that had no place. Whether is_waiting(), afterwards.
  bool try_again();
  bool is_waiting() const noexcept { return waiting_; }

 private:
  static ClaimOutcome publish(QueueEntry& q, ExecutorKind kind);

  BrokerContext& context_;
  Registry& registry_;
  const RunnerSupervisor& supervisor_;
  bool waiting_ = false;
};

}  // namespace ipcq::detail
