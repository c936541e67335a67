#include "options.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <chrono>
#include <ipcq/error.hpp>
#include <ipcq/options.hpp>
#include <string>

namespace ipcq::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

std::string_view text_of(Mirror mirror) noexcept { return mirror == Mirror::full ? "full" : "none"; }
std::string_view text_of(GroupPolicy policy) noexcept { return policy == GroupPolicy::must ? "must" : "lossy"; }
template <class Enum>
std::string_view text_of(Enum value) noexcept {
  return to_string(value);
}

// The enumerator whose text it is. Throws UsageError, which names them all.
template <class Enum, std::size_t N>
Enum parse(const std::string& text, const char* what, const std::array<Enum, N>& all) {
  std::string known;
  for (const Enum one : all) {
    if (text == text_of(one)) return one;
    known += (known.empty() ? "" : ", ") + std::string(text_of(one));
  }
  throw UsageError(std::string(what) + ": '" + text + "' is none of " + known);
}

// A property whose values are the texts of an enumeration.
template <class Options, class Class, class Enum, std::size_t N>
void text_property(Class& of, const char* name, Enum Options::*member, const std::array<Enum, N>& all) {
  of.def_prop_rw(
      name, [member](const Options& o) { return std::string(text_of(o.*member)); },
      [member, name, all](Options& o, const std::string& text) { o.*member = parse(text, name, all); });
}

constexpr std::array kMirrors = {Mirror::none, Mirror::full};

void bind_needs(nb::module_& m) {
  nb::class_<MemoryNeeds>(m, "MemoryNeeds", "Bytes of memory that a pool or a queue takes.")
      .def_ro("shared_memory", &MemoryNeeds::shared_memory, "In /dev/shm.")
      .def_ro("pinned", &MemoryNeeds::pinned, "Of these, pinned for the GPU.")
      .def_ro("device_memory", &MemoryNeeds::device_memory, "On the GPU.");
  m.def(
      "memory_needs", [](const PoolOptions& options) { return memory_needs(options); }, "options"_a);
  m.def(
      "memory_needs", [](const QueueOptions& options) { return memory_needs(options); }, "options"_a);
}

}  // namespace

void bind_options(nb::module_& m) {
  nb::class_<GroupOptions>(m, "GroupOptions")
      .def(
          "__init__",
          [](GroupOptions* self, const std::string& name, const std::string& policy, bool paused) {
            new (self)
                GroupOptions{name, parse(policy, "policy", std::array{GroupPolicy::must, GroupPolicy::lossy}), paused};
          },
          "name"_a = "default", "policy"_a = "must", "paused"_a = false);

  auto pool = nb::class_<PoolOptions>(m, "PoolOptions").def(nb::init<>());
  pool.def_rw("slots", &PoolOptions::slots)
      .def_rw("size", &PoolOptions::size)
      .def_rw("backend", &PoolOptions::backend)
      .def_rw("device", &PoolOptions::device)
      .def_rw("metadata", &PoolOptions::metadata);
  text_property(pool, "mirror", &PoolOptions::mirror, kMirrors);

  auto queue = nb::class_<QueueOptions>(m, "QueueOptions").def(nb::init<>());
  queue.def_rw("slots", &QueueOptions::slots)
      .def_rw("size", &QueueOptions::size)
      .def_rw("pool", &QueueOptions::pool)
      .def_rw("lines", &QueueOptions::lines)
      .def_rw("line", &QueueOptions::line)
      .def_rw("handler", &QueueOptions::handler)
      .def_rw("defines", &QueueOptions::defines)
      .def_rw("includes", &QueueOptions::includes)
      .def_rw("quick_start", &QueueOptions::quick_start)
      .def_rw("state_bytes", &QueueOptions::state_bytes)
      .def_rw("state_file", &QueueOptions::state_file)
      .def_rw("isolate", &QueueOptions::isolate)
      .def_rw("backend", &QueueOptions::backend)
      .def_rw("device", &QueueOptions::device)
      .def_rw("host_readable", &QueueOptions::host_readable)
      .def_rw("threads", &QueueOptions::threads)
      .def_rw("groups", &QueueOptions::groups)
      .def_rw("paused", &QueueOptions::paused)
      .def_rw("endpoints", &QueueOptions::endpoints)
      .def_rw("held", &QueueOptions::held)
      .def_rw("calls", &QueueOptions::calls)
      .def_rw("metadata", &QueueOptions::metadata)
      .def_rw("schema", &QueueOptions::schema)
      .def_rw("result_schema", &QueueOptions::result_schema);
  queue.def_prop_rw(
      "handler_deadline",
      [](const QueueOptions& o) { return std::chrono::duration<double>(o.handler_deadline).count(); },
      [](QueueOptions& o, double seconds) { o.handler_deadline = Timeout(std::chrono::duration<double>(seconds)); });
  queue.def_prop_rw(
      "wait", [](const QueueOptions& o) { return std::string(to_string(o.wait.kind())); },
      [](QueueOptions& o, const std::string& text) { o.wait = parse_wait(text); });
  text_property(queue, "mirror", &QueueOptions::mirror, kMirrors);
  text_property(queue, "batch", &QueueOptions::batch, std::array{Batch::messages, Batch::records});
  text_property(queue, "backpressure", &QueueOptions::backpressure,
                std::array{Backpressure::block, Backpressure::reject, Backpressure::drop_oldest});
  text_property(queue, "executor", &QueueOptions::executor,
                std::array{ExecutorKind::auto_, ExecutorKind::persistent, ExecutorKind::stream});
  text_property(queue, "on_server_death", &QueueOptions::on_server_death,
                std::array{OnServerDeath::fail, OnServerDeath::redeliver});
  bind_needs(m);
}

}  // namespace ipcq::python
