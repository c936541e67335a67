#include "broker.hpp"

#include <nanobind/stl/string.h>

#include <future>
#include <ipcq/admin.hpp>
#include <ipcq/broker.hpp>
#include <ipcq/builtin_handlers.hpp>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "interpreter.hpp"
#include "lifetime.hpp"
#include "logging.hpp"
#include "session.hpp"
#include "stats.hpp"
#include "waiting.hpp"

namespace ipcq::python {
namespace {

using namespace nb::literals;
using Released = nb::call_guard<ReleasedGil>;

std::mutex open_brokers_mutex;
std::vector<Broker*> open_brokers;

// A broker that is stopped before the interpreter ends, also where nobody does.
class BrokerObject {
 public:
  explicit BrokerObject(BrokerOptions options) : forks_(forks()) {
    const ReleasedGil released;
    broker_ = std::make_unique<Broker>(std::move(options));
    const std::lock_guard lock(open_brokers_mutex);
    open_brokers.push_back(broker_.get());
  }
  BrokerObject(const BrokerObject&) = delete;
  BrokerObject& operator=(const BrokerObject&) = delete;
  ~BrokerObject() {
    if (forks_ != forks() || is_ending()) {  // a child does not have it; what is left goes with the process
      (void)broker_.release();
      return;
    }
    const ReleasedGil released;
    {
      const std::lock_guard lock(open_brokers_mutex);
      std::erase(open_brokers, broker_.get());
    }
    broker_.reset();
  }
  Broker* operator->() const noexcept { return broker_.get(); }

  // In a thread of its own, so that a signal's handler can run here.
  std::uint64_t stop(nb::handle drain_for) {
    const Patience patience(drain_for);
    auto left = std::async(std::launch::async, [this, for_ = patience.left()] { return broker_->stop(for_); });
    try {
      for (bool is_done = false; !is_done;) {
        check_signals();
        const ReleasedGil released;
        is_done = left.wait_for(std::chrono::milliseconds(50)) == std::future_status::ready;
      }
    } catch (...) {
      const ReleasedGil released;
      (void)broker_->stop();  // shortens the wait of the other
      left.wait();
      throw;
    }
    return left.get();
  }

 private:
  std::unique_ptr<Broker> broker_;
  std::uint32_t forks_;
};

// drain() in slices.
template <class Drain>
std::uint64_t drain_in_slices(nb::handle timeout, Drain&& drain) {
  const Patience patience(timeout);
  for (;;) {
    std::uint64_t left = 0;
    {
      const ReleasedGil released;
      left = drain(patience.is_zero() ? Duration::zero() : patience.slice());
    }
    if (left == 0 || patience.is_none_left()) return left;
    check_signals();
  }
}

Removal removal(bool at_once) noexcept { return at_once ? Removal::at_once : Removal::if_unused; }

void construct(BrokerObject* self, const std::string& name, const std::string& group, const std::string& admin_group,
               std::uint32_t max_queues, std::uint64_t max_memory) {
  new (self) BrokerObject(BrokerOptions{name, group, admin_group, max_queues, max_memory, python_log()});
}

void bind_embedded(nb::module_& m) {
  nb::class_<BrokerObject>(m, "Broker", "An embedded broker. See ipcq.Broker.")
      .def("__init__", construct, "name"_a = "", nb::kw_only(), "group"_a = "", "admin_group"_a = "",
           "max_queues"_a = 0, "max_memory"_a = 0)
      .def(
          "_create",
          [](BrokerObject& self, const std::string& queue, const QueueOptions& options) {
            self->create(queue, options);
          },
          "queue"_a, "options"_a, Released())
      .def(
          "_create_pool",
          [](BrokerObject& self, const std::string& pool, const PoolOptions& options) {
            self->create_pool(pool, options);
          },
          "pool"_a, "options"_a, Released())
      .def(
          "remove",
          [](BrokerObject& self, const std::string& queue, bool at_once) {
            return self->remove(queue, removal(at_once));
          },
          "queue"_a, nb::kw_only(), "at_once"_a = false, Released(),
          "Removes a queue, with its own pool, and returns how many messages were left. Unless at_once, it is refused\n"
          "while anybody has it open or messages are left. Raises NotFoundError, UsageError (who uses it).")
      .def(
          "remove_pool", [](BrokerObject& self, const std::string& pool) { self->remove_pool(pool); }, "pool"_a,
          Released(), "Removes a pool that no queue uses. Raises NotFoundError, UsageError.")
      .def(
          "pause",
          [](BrokerObject& self, const std::string& queue, const std::string& group) { self->pause(queue, group); },
          "queue"_a, "group"_a = "", Released(),
          "Pauses a queue, or one of its groups: no message leaves it. Raises NotFoundError, BackendError.")
      .def(
          "resume",
          [](BrokerObject& self, const std::string& queue, const std::string& group) { self->resume(queue, group); },
          "queue"_a, "group"_a = "", Released(),
          "Lets a paused queue or group, or a drained queue, go on. Raises NotFoundError.")
      .def(
          "drain",
          [](BrokerObject& self, const std::string& queue, nb::handle timeout) {
            return drain_in_slices(timeout, [&](Duration left) { return self->drain(queue, left); });
          },
          "queue"_a, "timeout"_a.none() = nb::none(),
          nb::sig("def drain(self, queue: str, timeout: float | None = None) -> int"),
          "Closes the queue's intake and waits until all groups have taken and released everything. Returns how many\n"
          "messages are left. Raises NotFoundError, UsageError (it was resumed meanwhile).")
      .def(
          "end_of_stream", [](BrokerObject& self, const std::string& queue) { self->end_of_stream(queue); }, "queue"_a,
          Released(),
          "Declares that no further producer will open, so that the stream ends although a producer has died.\n"
          "Raises NotFoundError.")
      .def(
          "save_state",
          [](BrokerObject& self, const std::string& queue, const std::string& file) { self->save_state(queue, file); },
          "queue"_a, "file"_a, Released(), "Copies the state of the queue's handler to a new file.")
      .def(
          "load_state",
          [](BrokerObject& self, const std::string& queue, const std::string& file) { self->load_state(queue, file); },
          "queue"_a, "file"_a, Released(), "Sets the state of the queue's handler to a file's contents.")
      .def(
          "replace_handler",
          [](BrokerObject& self, const std::string& queue, const std::string& handler) {
            self->replace_handler(queue, handler);
          },
          "queue"_a, "handler"_a, Released(),
          "Lets another handler's file go on, between two messages. The state stays.")
      .def("stop", &BrokerObject::stop, "drain_for"_a.none() = 0.0,
           nb::sig("def stop(self, drain_for: float | None = 0.0) -> int"),
           "Closes the intake of every queue, waits up to drain_for seconds until groups with members have taken\n"
           "everything, and removes every name. Returns the number of messages left. A second call returns the same.")
      .def("__exit__", [](BrokerObject& self, nb::args) { (void)self.stop(nb::float_(0.0)); })
      .def(
          "stats",
          [](BrokerObject& self) {
            BrokerStats stats;
            {
              const ReleasedGil released;
              stats = self->stats();
            }
            return to_python(stats);
          },
          nb::sig("def stats(self) -> ipcq._stats.BrokerStats"), "Counters of this instant.")
      .def(
          "dump", [](BrokerObject& self, const std::string& queue) { return self->dump(queue); }, "queue"_a, Released(),
          "State of one queue as text for people.")
      .def_prop_ro(
          "socket_path", [](BrokerObject& self) { return self->socket_path(); }, "Path of the control socket.");
}

void bind_admin(nb::module_& m) {
  m.def(
      "fetch_stats",
      [](const std::string& broker, nb::handle wait_for) {
        const BrokerStats stats =
            wait_to_find(Patience(wait_for), [&](Duration left) { return fetch_stats(broker, left); });
        return to_python(stats);
      },
      "broker"_a = "", "wait_for"_a.none() = 0.0,
      nb::sig("def fetch_stats(broker: str = '', wait_for: float | None = 0.0) -> ipcq._stats.BrokerStats"));
  m.def("fetch_dump", &fetch_dump, "queue"_a, "broker"_a = "", Released());
  m.def("end_of_stream", &end_of_stream, "queue"_a, "broker"_a = "", Released());
  m.def("create_queue", &create_queue, "queue"_a, "options"_a, "broker"_a = "", Released());
  m.def("create_pool", &create_pool, "pool"_a, "options"_a, "broker"_a = "", Released());
  m.def(
      "remove_queue",
      [](const std::string& queue, bool at_once, const std::string& broker) {
        return remove_queue(queue, removal(at_once), broker);
      },
      "queue"_a, "at_once"_a = false, "broker"_a = "", Released());
  m.def("remove_pool", &remove_pool, "pool"_a, "broker"_a = "", Released());
  m.def("pause", &pause, "queue"_a, "group"_a = "", "broker"_a = "", Released());
  m.def("resume", &resume, "queue"_a, "group"_a = "", "broker"_a = "", Released());
  m.def(
      "drain",
      [](const std::string& queue, nb::handle timeout, const std::string& broker) {
        return drain_in_slices(timeout, [&](Duration left) { return drain(queue, left, broker); });
      },
      "queue"_a, "timeout"_a.none() = nb::none(), "broker"_a = "",
      nb::sig("def drain(queue: str, timeout: float | None = None, broker: str = '') -> int"));
  m.def("run_directory", &run_directory);
  m.def(
      "list_brokers",
      [] {
        std::vector<BrokerEntry> all;
        {
          const ReleasedGil released;
          all = list_brokers();
        }
        nb::list list;
        for (const BrokerEntry& entry : all)
          list.append(nb::make_tuple(entry.name, entry.socket_path, entry.alive, entry.pid));
        return list;
      },
      nb::sig("def list_brokers() -> list[tuple[str, str, bool, int]]"));
}

}  // namespace

void bind_broker(nb::module_& m) {
  bind_embedded(m);
  bind_admin(m);
}

void stop_all_brokers() {
  const ReleasedGil released;
  const std::lock_guard lock(open_brokers_mutex);
  for (Broker* const broker : open_brokers) (void)broker->stop();
}

}  // namespace ipcq::python
