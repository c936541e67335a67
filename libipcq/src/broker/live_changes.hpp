// What is done to a queue's handler between two of its messages: it is paused, its state is saved or loaded, or another
// handler takes its place. The runner does it; this asks for it, and keeps what comes of it for the runner's death.
//
// Thread safety: any thread may call these, without the broker's mutex: they wait for the runner, or a compiler.
// Invariant: what the broker keeps is what a live runner has; where a call throws both are as they were, unless the
// runner has died.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "broker/broker_context.hpp"
#include "broker/registry.hpp"

namespace ipcq::detail {

// All throw NotFoundError; UsageError: the queue has no state, or no handler of the user's; BackendError: its runner
// has ended, or the handler does not return; SystemError.
class LiveChanges {
 public:
  LiveChanges(BrokerContext& context, Registry& registry) : context_(context), registry_(registry) {}
  LiveChanges(const LiveChanges&) = delete;
  LiveChanges& operator=(const LiveChanges&) = delete;

  // What the state is now.
  std::shared_ptr<const KeptState> save(const std::string& queue);
  // `content`: a memory file of the state's size.
  void load(const std::string& queue, Fd content);
  // Compiles the handler first, with the queue's macros and folders. Where that fails, or the new one does not start,
  // the old one stays.
  void replace_handler(const std::string& queue, const std::string& handler);
  // Puts `whole`, another image of the same handler, in the place of `linked`. False: the queue has another image.
  bool replace_image(const std::string& queue, const std::shared_ptr<const HandlerImage>& linked,
                     const std::shared_ptr<const HandlerImage>& whole);

  // From here on the queue's handler and its groups take no message, or they do again. Idempotent.
  void set_paused(const std::string& queue, bool paused);

  // With the mutex. A memory file for the content of load().
  static Fd file_for_state(const QueueEntry& q);
  // With the mutex. Throws UsageError unless the queue has a handler that can be replaced.
  static void check_replaceable(const QueueEntry& q);

 private:
  // A queue as it is when a call begins.
  struct Target {
    std::string name;
    std::uint64_t generation = 0;
    std::uint64_t birth = 0;
    QueueOptions options;
    RunnerKey gpu;
    std::shared_ptr<const HandlerImage> image;
    std::shared_ptr<RunnerLink> runner;
    std::uint64_t id = 0;
    bool on_host = false;
    std::string object() const { return "queue '" + name + "'"; }
  };
  // Waits some seconds for a runner that is started again; `on_host_too`: also for the host's.
  // `birth`: that of the queue which is meant; 0: any.
  Target target(const std::string& queue, void (*check)(const QueueEntry& q), bool on_host_too = true,
                std::uint64_t birth = 0);
  // The same without waiting, with the mutex. Throws NotFoundError.
  QueueEntry& find(const std::string& queue, std::uint64_t birth);
  static RunnerRequest request_for(const Target& target, RunnerOp op);
  // The errors name the queue.
  static void ask(const Target& target, const RunnerRequest& request, const Fd& file);
  std::shared_ptr<std::mutex> order_of(const std::string& queue);
  // For the next start of a queue whose host runner is gone, which may end again before it can be asked. False: it is
  // not gone, or not for long enough.
  bool swap_at_start(const Target& before, const std::string& handler, const std::shared_ptr<const HandlerImage>& image,
                     std::uint64_t deadline);
  // Has the runner load the image, as the handler of that name, and keeps both.
  void swap(const Target& target, const std::string& handler, const std::shared_ptr<const HandlerImage>& image);
  void commit(const Target& target, const std::function<void(QueueEntry& q)>& change);

  BrokerContext& context_;
  Registry& registry_;
  std::mutex mutex_;  // guards orders_
  // Of a queue, held from the runner's change to the broker's: they come in one order.
  std::map<std::string, std::weak_ptr<std::mutex>> orders_;
};

}  // namespace ipcq::detail
