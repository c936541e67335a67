#include "broker/option_checks.hpp"

#include <chrono>

#include "base/os.hpp"
#include "broker/schemas.hpp"
#include "control/control_wire.hpp"
#include "control/runner_wire.hpp"
#include "ipcq/builtin_handlers.hpp"
#include "ipcq/error.hpp"
#include "layout/handler_text.hpp"
#include "layout/limits.hpp"

namespace ipcq::detail {
namespace {

void check_backend(const std::string& object, const std::string& backend) {
  if (backend == "auto" || backend == "host" || backend == "cuda") return;
  throw UsageError(object + ": backend '" + printable(backend) + "': use auto, host or cuda");
}

// A file of the user's: whether it is there, and a handler, the compiler says.
void check_handler_file(const std::string& object, const QueueOptions& o) {
  check_c_string(o.handler, "handler");
  for (const auto& text : o.defines) check_c_string(text, "a macro of the handler");
  for (const auto& text : o.includes) check_c_string(text, "a folder of the handler's headers");
  const HandlerText text = split_handler(o.handler);
  if (!has_handler_ending(text.file)) {
    throw UsageError(
        object + ": handler '" + printable(o.handler) +
        "' is no file of a handler: its name ends with none of .cu, .cpp, .cc, .cxx, .so, .ptx, .ltoir and .o");
  }
  if (!is_source_file(text.file) && (!o.defines.empty() || !o.includes.empty())) {
    throw UsageError(object + ": " + (!o.defines.empty() ? "define" : "include") + " says nothing here: '" +
                     printable(text.file) + "' is compiled already; name its source file, or leave it out");
  }
  if (text.arguments.size() >= kArgumentsBytes) {
    throw UsageError(object + ": the arguments of its handler have " + std::to_string(text.arguments.size()) +
                     " characters; there may be " + std::to_string(kArgumentsBytes - 1));
  }
  (void)parse_arguments(object, text.arguments);
  if (o.handler_deadline != Duration::zero() && o.handler_deadline < std::chrono::milliseconds(1)) {
    throw UsageError(object +
                     ": handler_deadline is less than a millisecond; allowed are 1 ms and more, or zero for none");
  }
  check_c_string(o.state_file, "a state's file");
  if (o.state_bytes == 0 && !o.state_file.empty()) {
    throw UsageError(object + ": a file of state is named, and the state has no size; give it one (state)");
  }
  if (o.state_bytes > kMostStateBytes) {
    throw UsageError(object + ": state has " + std::to_string(o.state_bytes) + " bytes; there may be " +
                     std::to_string(kMostStateBytes) + " (" + format_bytes(kMostStateBytes) + ")");
  }
}

void check_handler(const std::string& object, const QueueOptions& o) {
  if (is_handler_file(o.handler)) return check_handler_file(object, o);
  const char* const key = !o.defines.empty()                            ? "define"
                          : !o.includes.empty()                         ? "include"
                          : !o.quick_start                              ? "quick_start"
                          : o.handler_deadline != Duration::zero()      ? "handler_deadline"
                          : o.state_bytes != 0 || !o.state_file.empty() ? "state"
                                                                        : nullptr;
  if (key != nullptr) {
    throw UsageError(object + ": " + key +
                     " says nothing here: it is of a handler from a file; name one, or leave it out");
  }
  if (o.handler.empty() || find_host_handler(o.handler) != nullptr) return;
  std::string known;
  for (const auto& h : handler_names()) known += (known.empty() ? "" : ", ") + h;
  throw UsageError(object + ": handler '" + printable(o.handler) + "' is not known; there are " + known +
                   ", and source files of your own (x.cu)");
}

// So that a configuration means the same everywhere, a built-in handler needs backend 'cuda' said, and not only found.
void check_isolate(const std::string& object, const QueueOptions& o) {
  if (!o.isolate || is_handler_file(o.handler) || (!o.handler.empty() && o.backend == "cuda")) return;
  throw UsageError(
      object + ": isolate says nothing here: " +
      (o.handler.empty()
           ? "it is of the process that works on the queue with a handler; name one, or leave it out"
           : "a built-in handler runs in the broker's threads on the host, and backend '" + o.backend +
                 "' is or may be the host; say backend cuda, name a handler of your own, or leave it out"));
}

// An option that has its default value counts as not given.
void check_threads(const std::string& object, const QueueOptions& o) {
  if (!o.handler.empty()) {
    if (o.threads != 0 && o.threads <= kMaxThreads) return;
    throw UsageError(object + ": threads is " + std::to_string(o.threads) + "; allowed are 1 to " +
                     std::to_string(kMaxThreads));
  }
  const QueueOptions unset;
  const bool waits = o.wait.kind() != unset.wait.kind() || o.wait.spin_for() != unset.wait.spin_for();
  if (o.threads == unset.threads && !waits) return;
  throw UsageError(object + ": " + (waits ? "wait" : "threads") +
                   " says nothing here: it is of the handler's threads; name a handler, or leave it out");
}

// With a handler, `auto` is a GPU's queue where there is one. So that a configuration means the same everywhere.
void check_line_of_auto(const std::string& object, const QueueOptions& o) {
  if (o.line == sizeof(Line) || o.backend != "auto" || o.handler.empty() || !o.pool.empty()) return;
  throw UsageError(object + ": line is " + std::to_string(o.line) +
                   ", and the backend 'auto' with a handler is a GPU's "
                   "where there is one, whose lines have 128 bytes; say backend host, or leave line out");
}

// Whether a pool that the queue shares has slots is not asked: check_pool_options() refuses those without.
void check_batch(const std::string& object, const QueueOptions& o) {
  if (o.batch == Batch::messages) return;
  if (o.batch != Batch::records) {
    throw UsageError(object + ": batch is " + std::to_string(static_cast<unsigned>(o.batch)) +
                     ", which is none of its values; use Batch::messages or Batch::records");
  }
  if (o.slots != 0 || !o.pool.empty()) return;
  throw UsageError(object + ": batch is 'records', which travel in slots, and the queue has none; " +
                   "give it some (slots, size), or leave batch out");
}

void check_groups(const std::string& object, const QueueOptions& o) {
  for (std::size_t i = 0; i < o.groups.size(); ++i) {
    check_name(o.groups[i].name, "group");
    for (std::size_t j = 0; j < i; ++j) {
      if (o.groups[i].name == o.groups[j].name) throw UsageError(object + ": group '" + o.groups[i].name + "' twice");
    }
  }
}

void check_metadata(const std::string& object, const QueueOptions& o) {
  if (o.metadata == 0 || o.slots != 0 || !o.pool.empty()) return;
  throw UsageError(object +
                   ": metadata says nothing here: it is of messages in slots, and the queue has none; give it " +
                   "some (slots, size), or leave metadata out");
}

// What of a queue of calls is settled, or is not there.
void check_calls(const std::string& object, const QueueOptions& o) {
  if (o.calls == 0) {
    if (o.on_server_death == OnServerDeath::fail) return;
    throw UsageError(object + ": on_server_death says nothing here: it is of a queue of calls; give it calls=N, or " +
                     "leave it out");
  }
  if (!o.handler.empty() && o.on_server_death != OnServerDeath::fail) {
    throw UsageError(object + ": on_server_death says nothing here: its handler answers its calls; leave one of the " +
                     "two out");
  }
  if (o.on_server_death > OnServerDeath::redeliver) {
    throw UsageError(object + ": on_server_death is " + std::to_string(static_cast<unsigned>(o.on_server_death)) +
                     ", which is none of its values; use OnServerDeath::fail or OnServerDeath::redeliver");
  }
  const bool declares_groups = o.groups.size() != 1 || o.groups[0].policy != GroupPolicy::must || o.groups[0].paused ||
                               (o.groups[0].name != GroupOptions{}.name && o.groups[0].name != group_of_calls(o));
  const std::string groups = std::string("groups, and its one group is '") + group_of_calls(o) + "'; leave them out";
  const char* const wrong =
      o.batch != Batch::messages ? "batch 'records', and a request is one message; leave it out"
      : o.backpressure == Backpressure::drop_oldest
          ? "backpressure 'drop-oldest', and a request that is dropped is never answered; use block or reject"
      : o.mirror != Mirror::full || !o.host_readable
          ? "mirror=none or host_readable=no, and clients and servers use no GPU; leave it out"
      : declares_groups ? groups.c_str()
                        : nullptr;
  if (wrong != nullptr) throw UsageError(object + ": it takes calls and is given " + wrong);
}

}  // namespace

void check_pool_options(const std::string& object, const PoolOptions& o) {
  if (o.slots == 0) throw UsageError(object + ": slots is 0; a pool that queues share needs some");
  check_backend(object, o.backend);
  if (o.backend == "auto" && (o.device != 0 || o.mirror != Mirror::full)) {
    throw UsageError(object + ": " + (o.device != 0 ? "device" : "mirror") +
                     " says nothing here: backend 'auto' is host for a pool; say backend cuda, or leave it out");
  }
}

void check_queue_options(const std::string& object, const QueueOptions& o) {
  check_backend(object, o.backend);
  check_handler(object, o);
  check_isolate(object, o);
  check_threads(object, o);
  check_line_of_auto(object, o);
  check_batch(object, o);
  check_calls(object, o);
  check_schema_options(object, o);
  check_metadata(object, o);
  if (o.pool.empty()) (void)PoolMap::needs(object, PoolMap::of_queue(o));  // else the error would name its pool
  check_groups(object, o);
}

void check_shared_pool(const std::string& object, const QueueOptions& o, const PoolEntry& pool) {
  const bool on_device = pool.map->on_device();
  if (o.backend == "host" && on_device) {
    throw UsageError(object + ": backend 'host', but pool '" + o.pool + "' is in device memory; use backend cuda");
  }
  if (o.backend == "cuda" && !on_device) {
    throw UsageError(object + ": backend 'cuda', but pool '" + o.pool +
                     "' is in host memory; create the pool with backend cuda");
  }
  if (on_device && pool.options.device != o.device && o.device != 0) {
    throw UsageError(object + ": device " + std::to_string(o.device) + ", but pool '" + o.pool + "' is on device " +
                     std::to_string(pool.options.device));
  }
  if (on_device && o.isolate) {
    throw UsageError(object + ": isolate, but pool '" + o.pool +
                     "' is in device memory, which ends with another runner; leave pool out for one of the queue's "
                     "own, or leave isolate out");
  }
  if (on_device && !pool.only_for.empty()) {
    throw UsageError(object + ": pool '" + o.pool +
                     "' is in device memory that ends with the runner which its queue has for itself (isolate); leave "
                     "pool out, share another, or create queue '" +
                     pool.only_for + "' without isolate");
  }
}

void check_nothing_of_a_gpu(const std::string& object, const QueueOptions& o, const PoolEntry* pool) {
  const char* const key = o.device != 0                       ? "device"
                          : o.mirror != Mirror::full          ? "mirror"
                          : !o.host_readable                  ? "host_readable"
                          : o.executor != ExecutorKind::auto_ ? "executor"
                                                              : nullptr;
  if (key == nullptr) return;
  throw UsageError(
      object + ": " + key + " says nothing here: backend 'auto' is host " +
      (pool != nullptr ? "as pool '" + o.pool + "' is; name a pool on a GPU" : "without a handler; say backend cuda") +
      ", or leave it out");
}

}  // namespace ipcq::detail
