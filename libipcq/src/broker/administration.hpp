// What administrators do to queues and pools of a running broker: create, remove, pause, resume and drain them. For the
// broker's own process (ipcq::Broker) and for clients alike.
//
// Thread safety: any thread may call these, without the broker's mutex, but for those that say so. They take as long as
// what they do takes: a compiler, a handler that returns.
#pragma once

#include <cstdint>
#include <string>

#include "base/deadline.hpp"
#include "broker/broker_context.hpp"
#include "broker/inliner.hpp"
#include "broker/live_changes.hpp"
#include "broker/registry.hpp"

namespace ipcq::detail {

class Administration {
 public:
  Administration(BrokerContext& context, Registry& registry, LiveChanges& changes, Inliner& inliner)
      : context_(context), registry_(registry), changes_(changes), inliner_(inliner) {}
  Administration(const Administration&) = delete;
  Administration& operator=(const Administration&) = delete;

  // Throw as Broker's functions. `limits`: of a client's request.
  void create_pool(const std::string& name, const PoolOptions& options, const Limits& limits = {});
  void create_queue(const std::string& name, const QueueOptions& options, const Limits& limits = {});
  std::uint64_t remove_queue(const std::string& name, Removal how) { return registry_.remove_queue(name, how); }
  void remove_pool(const std::string& name) { registry_.remove_pool(name); }
  // `group`: empty for the queue as a whole.
  void pause(const std::string& queue, const std::string& group);
  // Of a queue: also opens its intake again.
  void resume(const std::string& queue, const std::string& group);
  // Closes the intake, and waits until nothing is left or the deadline has passed. Returns what is left.
  std::uint64_t drain(const std::string& queue, Deadline& deadline);

  // With the mutex. Closes the intake of a queue. Returns what is left in it now.
  std::uint64_t begin_drain(const std::string& queue);
  // With the mutex, after begin_drain(). What is left now. Throws UsageError: the intake has been opened again.
  std::uint64_t count_left(const std::string& queue) const;

 private:
  void change_group(const std::string& queue, const std::string& group, bool paused);

  BrokerContext& context_;
  Registry& registry_;
  LiveChanges& changes_;
  Inliner& inliner_;
};

}  // namespace ipcq::detail
