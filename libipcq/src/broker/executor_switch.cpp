#include "broker/executor_switch.hpp"

#include <algorithm>

#include "broker/stream_end.hpp"
#include "ipcq/error.hpp"
#include "protocol/doorbell.hpp"

namespace ipcq::detail {
namespace {

void check_switchable(const QueueEntry& q, ExecutorKind kind) {
  const std::string object = "queue '" + q.name + "': ";
  if (!q.map->on_device()) {
    throw UsageError(object + "its executor is not a GPU's (backend " + (q.executor ? "host" : "host, no handler") +
                     "), so there is nothing to switch");
  }
  if (kind != ExecutorKind::persistent && kind != ExecutorKind::stream) {
    throw UsageError(object + "executor " +
                     (kind == ExecutorKind::auto_ ? "'auto'" : std::to_string(static_cast<std::uint64_t>(kind))) +
                     ": name persistent or stream");
  }
}

}  // namespace

// Does not wait for a place in a queue that is full.
ClaimOutcome ExecutorSwitch::publish_switch(QueueEntry& q, ExecutorKind kind) {
  const auto& ring = q.map->ring();
  std::uint64_t limit = 0;
  const PublishClaim c = ring.claim_publish(kBrokerClient, 1, limit);
  if (c.outcome != ClaimOutcome::ok) return c.outcome;
  Descriptor d;
  d.kind = LineKind::control;
  d.producer = kBrokerClient;
  d.sequence = static_cast<std::uint64_t>(kind == ExecutorKind::stream ? ControlOp::switch_to_stream
                                                                       : ControlOp::switch_to_persistent);
  ring.write(c.ticket, d, nullptr);
  q.asked = kind;
  add_tombstones(q, {c.ticket});
  auto& control = q.map->control();
  ring_always(control.work);
  ring_always(control.completion_waker);
  move_end(q);
  return ClaimOutcome::ok;
}

Reply ExecutorSwitch::set(QueueEntry& q, ExecutorKind kind) {
  check_switchable(q, kind);
  switch (publish_switch(q, kind)) {
    case ClaimOutcome::ok:
      q.wants_stream = false;     // the user's request replaces it
      q.options.executor = kind;  // also for a recreation of the queue
      break;
    case ClaimOutcome::full:
      return refuse(Refusal::busy, "queue '" + q.name + "': it is full, and a switch takes a place in it; try again");
    case ClaimOutcome::closed:
      return refuse(Refusal::usage, "queue '" + q.name + "': it is being closed");
  }
  return {};
}

void ExecutorSwitch::prefer_stream(QueueEntry& q) {
  if (!q.map->on_device() || q.options.executor != ExecutorKind::auto_) return;
  if (q.asked == ExecutorKind::stream || supervisor_.has_mps(q.device) || q.wants_stream) return;
  const std::string object = "queue '" + q.name + "': ";
  context_.log(LogLevel::info, object + "a client with a GPU attaches and there is no MPS: executor stream");
  if (publish_switch(q, ExecutorKind::stream) != ClaimOutcome::full) return;
  context_.log(LogLevel::warning, object +
                                      "it is full; the executor changes as soon as there is a place in it, and until "
                                      "then GPU work of its clients waits for time slices");
  q.wants_stream = true;
  waiting_ = true;
}

bool ExecutorSwitch::try_again() {
  if (!waiting_) return false;
  waiting_ = false;
  for (auto& [name, q] : registry_.queues()) {
    if (!q.wants_stream) continue;
    const bool wanted =
        std::any_of(q.endpoints.begin(), q.endpoints.end(), [](const auto& e) { return e.client != 0 && e.uses_cuda; });
    q.wants_stream = wanted && publish_switch(q, ExecutorKind::stream) == ClaimOutcome::full;
    waiting_ = waiting_ || q.wants_stream;
  }
  return waiting_;
}

}  // namespace ipcq::detail
