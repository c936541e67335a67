#include "stats.hpp"

#include <ipcq/for_each.hpp>
#include <string>

namespace ipcq::python {
namespace {

namespace nb = nanobind;

nb::object value(const std::string& text) { return nb::str(text.data(), text.size()); }
nb::object value(bool flag) { return nb::bool_(flag); }
nb::object value(double number) { return nb::float_(number); }
template <class Integer>
nb::object value(Integer number) {
  return nb::int_(number);
}
template <class T>
nb::object list_of(const std::vector<T>& all);

nb::object convert(const GroupStats& stats) {
  nb::dict fields;
#define IPCQ_FIELD(ipcq_name) fields[#ipcq_name] = value(stats.ipcq_name);
  IPCQ_FOR_EACH(IPCQ_FIELD, name, durable, lossy, paused, members, joined_at, published, waiting, held, delivered,
                filtered, dropped, expired, dead_lettered, lost, redelivered, records)
#undef IPCQ_FIELD
  return nb::module_::import_("ipcq._stats").attr("GroupStats")(**fields);
}

nb::object convert(const EndpointStats& stats) {
  nb::dict fields;
#define IPCQ_FIELD(ipcq_name) fields[#ipcq_name] = value(stats.ipcq_name);
  IPCQ_FOR_EACH(IPCQ_FIELD, id, pid, uid, role, group, state, messages, records, bytes, held)
#undef IPCQ_FIELD
  return nb::module_::import_("ipcq._stats").attr("EndpointStats")(**fields);
}

nb::object convert(const QueueStats& stats) {
  nb::dict fields;
#define IPCQ_FIELD(ipcq_name) fields[#ipcq_name] = value(stats.ipcq_name);
  IPCQ_FOR_EACH(IPCQ_FIELD, name, pool, handler, backend, executor, parked, backpressure, state, paused, slots,
                slot_bytes, lines, line_bytes, inline_bytes, batch, schema, result_schema, metadata_bytes, published,
                records, tombstones, processed, handler_errors, publish_rate, empty, claimed, ready, inflight, done,
                reading, quarantined, producers_lost, blocked_by_pid, blocked_by_group, calls, on_server_death,
                calls_open, calls_answered, calls_cancelled)
#undef IPCQ_FIELD
  fields["groups"] = list_of(stats.groups);
  fields["endpoints"] = list_of(stats.endpoints);
  return nb::module_::import_("ipcq._stats").attr("QueueStats")(**fields);
}

nb::object convert(const BrokerStats& stats) {
  nb::dict fields;
#define IPCQ_FIELD(ipcq_name) fields[#ipcq_name] = value(stats.ipcq_name);
  IPCQ_FOR_EACH(IPCQ_FIELD, name, version, pid, uptime_ns, shm_bytes, abi, clients, deaths, runner_deaths)
#undef IPCQ_FIELD
  fields["queues"] = list_of(stats.queues);
  return nb::module_::import_("ipcq._stats").attr("BrokerStats")(**fields);
}

template <class T>
nb::object list_of(const std::vector<T>& all) {
  nb::list list;
  for (const T& one : all) list.append(convert(one));
  return list;
}

}  // namespace

nb::object to_python(const BrokerStats& stats) { return convert(stats); }

}  // namespace ipcq::python
