#include "program/stats_report.hpp"

#include <fmt/format.h>

#include "program/format.hpp"
#include "program/printable.hpp"

namespace ipcq::program {
namespace {

Json to_json(const GroupStats& group) {
  return {{"name", group.name},
          {"durable", group.durable},
          {"lossy", group.lossy},
          {"paused", group.paused},
          {"members", group.members},
          {"joined_at", group.joined_at},
          {"published", group.published},
          {"waiting", group.waiting},
          {"held", group.held},
          {"delivered", group.delivered},
          {"filtered", group.filtered},
          {"dropped", group.dropped},
          {"expired", group.expired},
          {"lost", group.lost},
          {"records", group.records},
          {"dead_lettered", group.dead_lettered},
          {"redelivered", group.redelivered}};
}

Json to_json(const EndpointStats& endpoint) {
  return {{"id", endpoint.id},
          {"pid", endpoint.pid},
          {"uid", endpoint.uid},
          {"role", endpoint.role},
          {"group", endpoint.group},
          {"state", endpoint.state},
          {"messages", endpoint.messages},
          {"records", endpoint.records},
          {"bytes", endpoint.bytes},
          {"held", endpoint.held}};
}

template <class... Texts>
void make_printable(Texts&... texts) {
  ((texts = printable(texts)), ...);
}

// The statistics with all names made printable.
QueueStats shown(QueueStats queue) {
  make_printable(queue.name, queue.pool, queue.handler, queue.backend, queue.executor, queue.backpressure, queue.state,
                 queue.batch, queue.blocked_by_group, queue.on_server_death, queue.schema, queue.result_schema);
  for (auto& group : queue.groups) make_printable(group.name);
  for (auto& endpoint : queue.endpoints) make_printable(endpoint.role, endpoint.group, endpoint.state);
  return queue;
}

const char* or_dash(const std::string& text) { return text.empty() ? "-" : text.c_str(); }

}  // namespace

// Not in the unnamed namespace: the to_json() functions there would hide the others from it.
template <class Stats>
static Json array_of(const std::vector<Stats>& all) {
  auto array = Json::array();
  for (const auto& stats : all) array.push_back(to_json(stats));
  return array;
}

Json to_json(const QueueStats& queue) {
  return {{"name", queue.name},
          {"pool", queue.pool},
          {"handler", queue.handler},
          {"backend", queue.backend},
          {"executor", queue.executor},
          {"parked", queue.parked},
          {"backpressure", queue.backpressure},
          {"state", queue.state},
          {"paused", queue.paused},
          {"slots", queue.slots},
          {"slot_bytes", queue.slot_bytes},
          {"lines", queue.lines},
          {"line_bytes", queue.line_bytes},
          {"inline_bytes", queue.inline_bytes},
          {"batch", queue.batch},
          {"schema", queue.schema},
          {"result_schema", queue.result_schema},
          {"metadata_bytes", queue.metadata_bytes},
          {"published", queue.published},
          {"records", queue.records},
          {"tombstones", queue.tombstones},
          {"processed", queue.processed},
          {"handler_errors", queue.handler_errors},
          {"publish_rate", queue.publish_rate},
          {"producers_lost", queue.producers_lost},
          {"blocked_by_pid", queue.blocked_by_pid},
          {"blocked_by_group", queue.blocked_by_group},
          {"calls",
           {{"of_one_client", queue.calls},
            {"on_server_death", queue.on_server_death},
            {"open", queue.calls_open},
            {"answered", queue.calls_answered},
            {"cancelled", queue.calls_cancelled}}},
          {"depth",
           {{"empty", queue.empty},
            {"claimed", queue.claimed},
            {"ready", queue.ready},
            {"inflight", queue.inflight},
            {"done", queue.done},
            {"reading", queue.reading},
            {"quarantined", queue.quarantined}}},
          {"groups", array_of(queue.groups)},
          {"endpoints", array_of(queue.endpoints)}};
}

Json to_json(const BrokerStats& broker) {
  return {{"name", broker.name},
          {"version", broker.version},
          {"abi", broker.abi},
          {"pid", broker.pid},
          {"uptime_s", static_cast<double>(broker.uptime_ns) / 1e9},
          {"shm_bytes", broker.shm_bytes},
          {"clients", broker.clients},
          {"deaths", broker.deaths},
          {"runner_deaths", broker.runner_deaths},
          {"queues", array_of(broker.queues)}};
}

static std::string calls_text(const QueueStats& queue) {
  return fmt::format("  calls: {} of a client at once, open {}, answered and not read {}, cancelled {}; {}\n",
                     queue.calls, queue.calls_open, queue.calls_answered, queue.calls_cancelled,
                     queue.on_server_death.empty()          ? "answered by the handler"
                     : queue.on_server_death == "redeliver" ? "redelivered when their server dies"
                                                            : "failed when their server dies");
}

std::string to_text(const QueueStats& told) {
  const QueueStats queue = shown(told);
  auto text = fmt::format("queue {}: {}, backend {}, executor {}{}, handler {}, backpressure {}\n", queue.name,
                          queue.state + (queue.paused ? ", paused" : ""), queue.backend, or_dash(queue.executor),
                          queue.parked ? " (parked)" : "", or_dash(queue.handler), queue.backpressure);
  text += fmt::format("  pool {}: {} slots of {}; {} lines of {}, {} inline; batch {}{}\n", or_dash(queue.pool),
                      queue.slots, human_bytes(queue.slot_bytes), queue.lines, human_bytes(queue.line_bytes),
                      human_bytes(queue.inline_bytes), or_dash(queue.batch),
                      queue.metadata_bytes != 0 ? fmt::format("; metadata {}", human_bytes(queue.metadata_bytes)) : "");
  if (!queue.schema.empty()) text += fmt::format("  schema {}\n", queue.schema);
  if (!queue.result_schema.empty()) text += fmt::format("  result schema {}\n", queue.result_schema);
  text += fmt::format("  published {} ({}/s), records {}, processed {}, handler errors {}, tombstones {}\n",
                      queue.published, human_rate(queue.publish_rate), queue.records, queue.processed,
                      queue.handler_errors, queue.tombstones);
  text += fmt::format("  depth: empty {}, claimed {}, ready {}, inflight {}, done {}, reading {}\n", queue.empty,
                      queue.claimed, queue.ready, queue.inflight, queue.done, queue.reading);
  if (queue.calls != 0) text += calls_text(queue);
  if (queue.quarantined != 0) {
    text += fmt::format("  {} slots out of use: GPU work of a dead client may still write them\n", queue.quarantined);
  }
  if (queue.producers_lost != 0) {
    text += fmt::format(
        "  producers gone without ending their stream: {}; consumers wait for others, or for `ipcq end {}`\n",
        queue.producers_lost, queue.name);
  }
  if (queue.blocked_by_pid != 0) {
    text += fmt::format("  held up by process {}: it took a place in the order and has not published\n",
                        queue.blocked_by_pid);
  }
  if (!queue.blocked_by_group.empty()) {
    text += queue.calls != 0
                ? std::string("  full of requests: no server is attached, so clients wait\n")
                : fmt::format("  full for group {}: it keeps its messages and nobody reads it, so producers wait\n",
                              queue.blocked_by_group);
  }
  if (!queue.groups.empty()) {
    text += fmt::format("  {:<16} {:<22} {:>7} {:>11} {:>8} {:>6} {:>11} {:>8} {:>8} {:>8} {:>8} {:>6} {:>11} {:>11}\n",
                        "GROUP", "KIND", "MEMBERS", "PUBLISHED", "WAITING", "HELD", "DELIVERED", "FILTERED", "DROPPED",
                        "EXPIRED", "DEADLTR", "LOST", "REDELIVERED", "RECORDS");
  }
  for (const auto& g : queue.groups) {
    const auto kind =
        fmt::format("{}{}{}", g.durable ? "durable" : "ephemeral", g.lossy ? ",lossy" : "", g.paused ? ",paused" : "");
    text += fmt::format("  {:<16} {:<22} {:>7} {:>11} {:>8} {:>6} {:>11} {:>8} {:>8} {:>8} {:>8} {:>6} {:>11} {:>11}\n",
                        g.name, kind, g.members, g.published, g.waiting, g.held, g.delivered, g.filtered, g.dropped,
                        g.expired, g.dead_lettered, g.lost, g.redelivered, g.records);
  }
  if (!queue.endpoints.empty()) {
    text += fmt::format("  {:<16} {:<10} {:>6} {:>8} {:>6} {:<8} {:>11} {:>11} {:>11} {:>6}\n", "ENDPOINT", "GROUP",
                        "ID", "PID", "UID", "STATE", "MESSAGES", "RECORDS", "BYTES", "HELD");
  }
  for (const auto& e : queue.endpoints) {
    text +=
        fmt::format("  {:<16} {:<10} {:>6} {:>8} {:>6} {:<8} {:>11} {:>11} {:>11} {:>6}\n", e.role, or_dash(e.group),
                    e.id, e.pid, e.uid, e.state, e.messages, e.records, human_bytes(e.bytes), e.held);
  }
  return text;
}

std::string to_text(const BrokerStats& broker, const std::string& only) {
  auto text =
      fmt::format("broker {}: pid {}, up {}, {} clients, {} deaths, shared memory {}, version {}, ABI {}\n",
                  printable(broker.name), broker.pid, human_seconds(static_cast<double>(broker.uptime_ns) / 1e9),
                  broker.clients, broker.deaths, human_bytes(broker.shm_bytes), printable(broker.version), broker.abi);
  for (const auto& queue : broker.queues) {
    if (only.empty() || queue.name == only) text += to_text(queue);
  }
  return text;
}

}  // namespace ipcq::program
