#include "broker/live_changes.hpp"

#include <chrono>
#include <utility>

#include "base/deadline.hpp"
#include "base/memory_file.hpp"
#include "base/os.hpp"
#include "broker/groups.hpp"
#include "broker/option_checks.hpp"
#include "broker/runner_executor.hpp"
#include "executor/host_executor.hpp"
#include "ipcq/builtin_handlers.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

// A handler that its process dies of again and again pauses for five seconds at most (registry_losses.cpp).
constexpr auto kRestartPatience = std::chrono::seconds(8);
constexpr auto kRestartLook = std::chrono::milliseconds(10);

void check_state(const QueueEntry& q) {
  if (q.state) return;
  throw UsageError("queue '" + q.name + "': its handler has no state; create it with some (state=SIZE)");
}

}  // namespace

void LiveChanges::check_replaceable(const QueueEntry& q) {
  if (q.image) return;
  throw UsageError("queue '" + q.name +
                   "': " + (q.options.handler.empty() ? "it has no handler" : "its handler is built in") +
                   ", and only one of your own can be replaced; create the queue with a source file as handler");
}

Fd LiveChanges::file_for_state(const QueueEntry& q) {
  check_state(q);
  return make_memory_file(q.state->bytes, "queue '" + q.name + "'");
}

std::shared_ptr<std::mutex> LiveChanges::order_of(const std::string& queue) {
  const std::scoped_lock lock(mutex_);
  std::erase_if(orders_, [](const auto& known) { return known.second.expired(); });
  auto& known = orders_[queue];
  auto order = known.lock();
  if (!order) known = order = std::make_shared<std::mutex>();
  return order;
}

QueueEntry& LiveChanges::find(const std::string& queue, std::uint64_t birth) {
  QueueEntry& q = registry_.find(queue);
  if (birth == 0 || q.birth == birth) return q;
  throw NotFoundError("queue '" + queue + "': was removed meanwhile; what has its name now is another, and unchanged");
}

LiveChanges::Target LiveChanges::target(const std::string& queue, void (*check)(const QueueEntry& q), bool on_host_too,
                                        std::uint64_t birth) {
  const std::uint64_t deadline = deadline_after(kRestartPatience);
  Lock lock(context_.mutex);
  for (;;) {
    context_.check_running("queue '" + queue + "'");
    const QueueEntry& q = find(queue, birth);
    check(q);
    const bool needs_runner = q.executed_by && (on_host_too || q.map->on_device());
    if (!needs_runner || !q.executed_by->is_lost() || now_ns() >= deadline) {
      return {q.name,
              q.map->config().segment.generation,
              q.birth,
              q.options,
              runner_on(q.device, q),
              q.image,
              q.executed_by,
              q.id_there,
              !q.map->on_device()};
    }
    context_.changed.wait_for(lock, kRestartLook);
  }
}

RunnerRequest LiveChanges::request_for(const Target& target, RunnerOp op) {
  RunnerRequest r;
  r.op = op;
  r.id = target.id;
  r.bytes = target.options.state_bytes;
  return r;
}

void LiveChanges::ask(const Target& target, const RunnerRequest& request, const Fd& file) {
  try {
    (void)target.runner->request(request, file.get());
  } catch (const UsageError& e) {
    throw UsageError(naming(target.object(), e.what()));
  } catch (const BackendError& e) {
    throw BackendError(naming(target.object(), e.what()));
  }
}

// A runner that is not lost now is followed by one that gets what is committed here.
void LiveChanges::commit(const Target& target, const std::function<void(QueueEntry& q)>& change) {
  const Lock lock(context_.mutex);
  context_.check_running(target.object());
  QueueEntry* const q = registry_.find_generation(target.name, target.generation);
  if (q == nullptr && !registry_.comes_back(target.name)) (void)find(target.name, target.birth);
  if (q == nullptr || q->executed_by != target.runner || (target.runner && target.runner->is_lost())) {
    throw BackendError(target.object() + ": its runner ended meanwhile, and nothing has changed; try again");
  }
  change(*q);
}

std::shared_ptr<const KeptState> LiveChanges::save(const std::string& queue) {
  const auto order = order_of(queue);
  const std::scoped_lock one(*order);
  const Target t = target(queue, check_state);
  Fd file = make_memory_file(t.options.state_bytes, t.object());
  ask(t, request_for(t, RunnerOp::save_state), file);
  auto kept = keep_state(std::move(file), t.options.state_bytes, "as it was last saved", t.object());
  commit(t, [&](QueueEntry& q) { q.state = kept; });
  context_.log(LogLevel::info, t.object() + ": its state was saved (" + format_bytes(kept->bytes) + ")");
  return kept;
}

void LiveChanges::load(const std::string& queue, Fd content) {
  const auto order = order_of(queue);
  const std::scoped_lock one(*order);
  const Target t = target(queue, check_state);
  const auto kept = keep_state(std::move(content), t.options.state_bytes, "as it was last loaded", t.object());
  ask(t, request_for(t, RunnerOp::load_state), kept->content);
  commit(t, [&](QueueEntry& q) { q.state = kept; });
  context_.log(LogLevel::info, t.object() + ": its state was loaded (" + format_bytes(kept->bytes) + ")");
}

void LiveChanges::swap(const Target& target, const std::string& handler,
                       const std::shared_ptr<const HandlerImage>& image) {
  RunnerRequest r = request_for(target, RunnerOp::replace_handler);
  r.has_image = 1;
  name_handler(r, handler);
  ask(target, r, image->file);
  commit(target, [&](QueueEntry& q) {
    q.options.handler = handler;
    q.image = image;
    q.relapses = {};
  });
}

void LiveChanges::replace_handler(const std::string& queue, const std::string& handler) {
  const Target before = target(queue, check_replaceable, false);
  QueueOptions options = before.options;
  options.handler = handler;
  if (!is_handler_file(handler)) {
    throw UsageError("queue '" + queue + "': handler '" + printable(handler) +
                     "' is no file; a handler of your own is replaced by another such");
  }
  check_queue_options("queue '" + queue + "'", options);
  const auto image = registry_.image_for("queue '" + queue + "'", options, before.gpu, {});
  const auto order = order_of(queue);
  const std::scoped_lock one(*order);
  const std::uint64_t deadline = deadline_after(kRestartPatience);
  while (!swap_at_start(before, handler, image, deadline)) {
    const Target t = target(queue, check_replaceable, true, before.birth);
    try {
      swap(t, handler, image);
      break;
    } catch (const BackendError&) {
      if (!t.on_host || !t.runner->is_lost() || now_ns() >= deadline) throw;
    }
  }
  context_.log(LogLevel::info, "queue '" + queue + "': its handler is now '" + printable(handler) + "', in place of '" +
                                   printable(before.options.handler) + "'");
}

// The threads of a built-in handler are the broker's own, and end their pause at once.
void LiveChanges::set_paused(const std::string& queue, bool paused) {
  const auto order = order_of(queue);
  const std::scoped_lock one(*order);
  const Target t = target(queue, [](const QueueEntry&) {});
  if (t.runner) ask(t, request_for(t, paused ? RunnerOp::pause_queue : RunnerOp::resume_queue), {});
  commit(t, [&](QueueEntry& q) {
    if (auto* const threads = dynamic_cast<HostExecutor*>(q.executor.get()); threads != nullptr) {
      if (paused) {
        (void)threads->pause(kNever);
      } else {
        threads->resume();
      }
    }
    q.options.paused = paused;
    apply_pauses(q);
  });
}

bool LiveChanges::swap_at_start(const Target& before, const std::string& handler,
                                const std::shared_ptr<const HandlerImage>& image, std::uint64_t deadline) {
  const auto pending = std::make_shared<PendingHandler>(PendingHandler{handler, image});
  Lock lock(context_.mutex);
  for (;;) {
    context_.check_running(before.object());
    QueueEntry& q = find(before.name, before.birth);
    check_replaceable(q);
    if (pending->done) return true;
    if (pending->refused) std::rethrow_exception(pending->refused);
    if (q.map->on_device() || !q.executed_by->is_lost() || now_ns() >= deadline) {
      q.pending.reset();
      return false;
    }
    q.pending = pending;
    context_.changed.wait_for(lock, kRestartLook);
  }
}

bool LiveChanges::replace_image(const std::string& queue, const std::shared_ptr<const HandlerImage>& linked,
                                const std::shared_ptr<const HandlerImage>& whole) {
  const auto order = order_of(queue);
  const std::scoped_lock one(*order);
  const Target t = target(queue, check_replaceable);
  if (t.image != linked) return false;
  swap(t, t.options.handler, whole);
  return true;
}

}  // namespace ipcq::detail
