// ipcq-broker: creates queues from flags and configuration, serves them until a signal, and stops gracefully.
#include <atomic>
#include <climits>
#include <cstdlib>
#include <ipcq/broker.hpp>
#include <ipcq/error.hpp>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "announce.hpp"
#include "open_files.hpp"
#include "plan.hpp"
#include "program/broker_config.hpp"
#include "program/exit_code.hpp"
#include "program/format.hpp"
#include "program/logging.hpp"
#include "program/print.hpp"
#include "program/program.hpp"
#include "program/stats_report.hpp"

namespace ipcq::program {
namespace {

struct Options {
  BrokerConfig flags;
  std::vector<std::string> queues;
  std::vector<std::string> pools;
  std::string config;
  int ready_fd = -1;
  bool json = false;
  bool empty = false;
};

void describe(CommandLine& line, Options& o) {
  line.add_option("--name", o.flags.name, "Name that clients connect to, or a path for the control socket [default]")
      .check(not_empty());
  line.add_option(
          "--queue", o.queues,
          "NAME=SIZE,KEY=VALUE,...: SIZE 4k-rgb, inline, or bytes as 4KiB; keys slots lines line "
          "batch=messages|records handler=NAME|FILE (.cu .cpp .so .ptx .ltoir .o) define=NAME=VALUE include=DIR "
          "quick_start=yes|no handler_deadline=SECONDS state=SIZE state_file=FILE isolate=yes|no pool "
          "backpressure=block|reject|drop-oldest group=NAME[:lossy][:paused] paused=yes|no "
          "threads wait=spin|hybrid|sleep endpoints held calls=N on_server_death=fail|redeliver "
          "schema=TEXT result_schema=TEXT metadata=BYTES "
          "backend=auto|host|cuda, on a GPU device=N "
          "mirror=none|full host_readable=yes|no executor=auto|persistent|stream; may be repeated")
      .one_value_each();
  line.add_option(
          "--pool", o.pools,
          "NAME=SIZE,slots=N: slots that several queues share; keys as of a queue: metadata backend device mirror; may "
          "be repeated")
      .one_value_each();
  line.add_option("--config", o.config, "TOML file [$XDG_CONFIG_HOME/ipcq/broker.toml, then /etc/ipcq/broker.toml]")
      .check(not_empty())
      .environment("IPCQ_CONFIG");
  line.add_option("--unix-group", o.flags.unix_group, "Unix group whose members may attach [this user only]")
      .check(not_empty());
  line.add_option("--admin-group", o.flags.admin_group,
                  "Unix group whose members may create, delete, pause, resume and drain queues; they need --unix-group "
                  "too [this user and root only]")
      .check(not_empty());
  line.add_option("--max-queues", o.flags.max_queues, "Queues that there may be when a client creates one [any number]")
      .check(not_empty());
  line.add_option("--max-memory", o.flags.max_memory,
                  "What all queues and pools may then take, as 2GiB, in /dev/shm and on GPUs [any]")
      .check(not_empty());
  line.add_flag("--empty", o.empty, "Begin without a queue, if none is given: `ipcq create` makes them");
  line.add_option("--backend", o.flags.backend, "auto, host or cuda, for queues and pools that leave it open [auto]")
      .check(one_of({"auto", "host", "cuda"}));
  line.add_option("--drain-seconds", o.flags.drain_seconds, "Longest drain of a graceful stop [5]")
      .transform(not_negative());
  line.add_option("--ready-fd", o.ready_fd, "Write a newline to this descriptor once clients can attach")
      .transform(whole_number(0, INT_MAX));
  line.add_flag("--json", o.json, "Summary as one JSON object on stdout at the end");
}

// Merges flags, environment, and --config or the default files, in this order of precedence. Queues of flags or
// environment replace those of the default files, and add to those of --config.
BrokerConfig gather(Options& o) {
  BrokerConfig config = o.flags;
  for (const auto& text : o.pools) config.pools.push_back(PoolSpec::parse(text));
  for (const auto& text : o.queues) config.queues.push_back(QueueSpec::parse(text));
  refuse_duplicates(config, "the command line");
  config.fill_from(environment_config());
  const bool explicit_queues = !config.queues.empty();
  if (!o.config.empty()) {
    config.fill_from(read_broker_config(o.config));
  } else {
    for (const auto& path : default_config_paths()) {
      BrokerConfig file = read_broker_config(path);
      if (explicit_queues) file.queues.clear();
      if (explicit_queues) file.pools.clear();
      config.fill_from(file);
    }
  }
  for (auto& pool : config.pools) pool.default_backend(config.backend.value_or("auto"));
  for (auto& queue : config.queues) queue.default_backend(config.backend.value_or("auto"));
  if (config.queues.empty() && !o.empty) {
    throw UsageError(
        "no queue to create: give --queue NAME=SIZE,... (such as frames=4k-rgb,slots=8) or a --config FILE; or begin "
        "with none (--empty)");
  }
  return config;
}

void summarise(const BrokerStats& stats, std::uint64_t left, bool json) {
  for (const auto& queue : stats.queues) {
    std::uint64_t delivered = 0, dropped = 0, lost = 0;
    for (const auto& group : queue.groups) {
      delivered += group.delivered;
      dropped += group.dropped;
      lost += group.lost;
    }
    const bool packs = queue.batch == to_string(Batch::records);
    const auto records = packs ? fmt::format(" ({} records)", queue.records) : std::string();
    log::info("queue '{}': {} published{}, {} processed, {} delivered, {} dropped, {} lost", queue.name,
              queue.published, records, queue.processed, delivered, dropped, lost);
  }
  if (left != 0) log::warn("{} messages were not taken before the end", left);
  if (json) {
    auto object = to_json(stats);
    object.set("left", left);
    print_json(object);
  }
}

struct Stopped {};

// Throws Stopped where a signal has come, and what `make` throws otherwise.
template <class Make>
void create(const Signals& signals, const Make& make) {
  try {
    if (!signals.stop_requested()) return make();
  } catch (const Error& e) {
    if (!signals.stop_requested()) throw;
    log::info("{}", e.what());
  }
  throw Stopped();
}

int serve(Options& o, Signals& signals) {
  if (o.ready_fd >= 0) require_announceable(o.ready_fd);
  BrokerConfig config = gather(o);
  for (const auto& line : describe_plan(config)) log::info("{}", line);
  raise_open_files_limit();

  std::optional<Broker> made;  // outlives the subscription
  std::atomic<Broker*> there{nullptr};
  std::atomic<bool> serving{false};
  // From here on a signal must not end the process, which would leave names behind.
  const auto subscription = signals.subscribe([&](int count) {
    Broker* const b = there.load(std::memory_order_acquire);
    // Gives up what is being created, as a compilation; later, cuts the drain short.
    if (b != nullptr && (count == 2 || !serving.load(std::memory_order_acquire))) b->stop(Duration::zero());
    if (count > 2) std::_Exit(kFailure);
  });
  Broker& broker = made.emplace(BrokerOptions{.name = config.name.value_or(""),
                                              .group = config.unix_group.value_or(""),
                                              .admin_group = config.admin_group.value_or(""),
                                              .max_queues = static_cast<std::uint32_t>(max_queues_of(config)),
                                              .max_memory = max_memory_of(config),
                                              .log = library_log()});
  there.store(&broker, std::memory_order_release);
  try {
    for (const auto& pool : config.pools) create(signals, [&] { broker.create_pool(pool.name(), pool.options()); });
    for (const auto& queue : config.queues) create(signals, [&] { broker.create(queue.name(), queue.options()); });
  } catch (const Stopped&) {
    log::info("stopped before all was created");
    return kOk;
  }

  serving.store(true, std::memory_order_release);
  log::info("serving at {}, {} of shared memory", broker.socket_path(), human_bytes(broker.stats().shm_bytes));
  if (o.ready_fd >= 0) announce_on_descriptor(o.ready_fd, signals);
  notify_service_manager("READY=1");

  signals.wait();
  notify_service_manager("STOPPING=1");
  const double drain = config.drain_seconds.value_or(5);
  log::info("stopping: draining for at most {} (a second signal stops at once)", human_seconds(drain));
  const BrokerStats before = broker.stats();
  const std::uint64_t left = broker.stop(to_duration(drain));
  const BrokerStats after = broker.stats();
  summarise(after.queues.empty() ? before : after, left, o.json);
  return kOk;
}

}  // namespace
}  // namespace ipcq::program

int main(int argc, char** argv) {
  using namespace ipcq::program;
  return run_program<Options>("ipcq-broker",
                              "Owns queues in shared or GPU memory and processes their messages in place.", argc, argv,
                              describe, serve);
}
