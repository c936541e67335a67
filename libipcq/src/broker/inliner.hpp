// Queues that have begun with a handler that is only linked (HandlerImage::linked_key): has it compiled into its
// kernels meanwhile, and has the runner put those in the place of the others. A thread of its own does it, one queue
// after the other, so a broker that begins with many queues keeps one core busy with it, not all.
//
// Thread safety: any thread may call these, without the broker's mutex. Invariant: what takes an image's place was made
// of the same text, with the same headers and compiler.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/broker_context.hpp"
#include "broker/handler_image.hpp"
#include "broker/live_changes.hpp"
#include "broker/registry.hpp"

namespace ipcq::detail {

class Inliner {
 public:
  Inliner(BrokerContext& context, Registry& registry, LiveChanges& changes)
      : context_(context), registry_(registry), changes_(changes) {}
  Inliner(const Inliner&) = delete;
  Inliner& operator=(const Inliner&) = delete;

  // `image`: of the queue's handler, or null. Does nothing where it is no linked one.
  void look_after(const std::string& queue, const std::shared_ptr<const HandlerImage>& image);
  // Once `quitting` is set and announced. Waits for the thread; what is left stays linked.
  void join();

 private:
  struct Task {
    std::string queue;
    std::shared_ptr<const HandlerImage> linked;
    std::shared_ptr<const HandlerImage> whole{};  // once it is compiled
    std::uint64_t due_ns = 0;                     // not before
    unsigned tries = 0;
  };

  void run() noexcept;
  // Both without the mutex. False: it is to be tried again.
  bool work_on(Task& task) noexcept;
  void put_in_place(Task& task);

  BrokerContext& context_;
  Registry& registry_;
  LiveChanges& changes_;
  std::vector<Task> tasks_;  // guarded by the mutex, as is:
  std::thread thread_;       // from the first task on
};

}  // namespace ipcq::detail
