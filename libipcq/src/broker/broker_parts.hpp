// The parts of one broker and how they are wired, but for the server, which works on all of them. They end in the
// reverse order.
//
// Thread safety: that of each part. Invariant: a part uses only parts above it.
#pragma once

#include "broker/administration.hpp"
#include "broker/broker_context.hpp"
#include "broker/clients.hpp"
#include "broker/closer.hpp"
#include "broker/endpoints.hpp"
#include "broker/executor_switch.hpp"
#include "broker/inliner.hpp"
#include "broker/live_changes.hpp"
#include "broker/outliving_work.hpp"
#include "broker/registry.hpp"
#include "broker/runner_supervisor.hpp"
#include "broker/statistics.hpp"

namespace ipcq::detail {

struct BrokerParts {
  // Takes the broker's name. Throws as Broker's constructor.
  explicit BrokerParts(const BrokerOptions& options) : context(options) {}

  BrokerContext context;
  RunnerSupervisor supervisor{context};
  Registry registry{context, supervisor};
  Closer closer;
  Clients clients;
  ExecutorSwitch switches{context, registry, supervisor};
  OutlivingWork outliving{context, registry, supervisor, clients, closer};
  Endpoints endpoints{context, registry, supervisor, switches, outliving};
  LiveChanges changes{context, registry};
  Inliner inliner{context, registry, changes};
  Administration administration{context, registry, changes, inliner};
  Statistics statistics{context, registry, supervisor, clients};
};

}  // namespace ipcq::detail
