#include "metrics.hpp"

#include <map>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace ipcq::bridge {
namespace {

// A label's value as the format wants it.
std::string label_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + '"';
}

class Page {
 public:
  explicit Page(const MetricsLabels& labels)
      : labels_(fmt::format("queue={},group={}", label_text(labels.queue), label_text(labels.group))) {}

  void add(std::string_view name, std::string_view type, std::string_view help, std::uint64_t value) {
    head(name, type, help);
    text_ += fmt::format("ipcq_redis_{}{{{}}} {}\n", name, labels_, value);
  }
  void add_latency(const Counters& counters) {
    constexpr std::string_view kName = "task_seconds";
    head(kName, "histogram", "From the reading of a task until its outcome is confirmed");
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < counters.latency.size(); ++i) {
      sum += counters.latency[i];
      const bool last = i == Counters::kBounds.size();
      const auto bound = last ? std::string("+Inf") : fmt::format("{}", Counters::kBounds[i]);
      text_ += fmt::format("ipcq_redis_{}_bucket{{{},le=\"{}\"}} {}\n", kName, labels_, bound, sum);
    }
    text_ += fmt::format("ipcq_redis_{0}_sum{{{1}}} {2}\nipcq_redis_{0}_count{{{1}}} {3}\n", kName, labels_,
                         static_cast<double>(counters.latency_us.load()) / 1e6, sum);
  }
  // One of each source of which the server could say it.
  void add_sizes(std::string_view name, std::string_view help, const std::map<std::string, SourceSizes>& sizes,
                 std::int64_t SourceSizes::*which) {
    head(name, "gauge", help);
    for (const auto& [source, of] : sizes) {
      if (of.*which < 0) continue;
      text_ += fmt::format("ipcq_redis_{}{{{},source={}}} {}\n", name, labels_, label_text(source), of.*which);
    }
  }
  std::string take() { return std::move(text_); }

 private:
  void head(std::string_view name, std::string_view type, std::string_view help) {
    text_ += fmt::format("# HELP ipcq_redis_{0} {1}\n# TYPE ipcq_redis_{0} {2}\n", name, help, type);
  }
  std::string labels_, text_;
};

}  // namespace

std::string metrics_text(const Counters& c, const MetricsLabels& labels) {
  Page page(labels);
  page.add("tasks_read_total", "counter", "Tasks that came out of Redis", c.read);
  page.add("tasks_taken_over_total", "counter", "Tasks read that another bridge had left", c.taken_over);
  page.add("tasks_done_total", "counter", "Tasks whose result is written", c.done);
  page.add("tasks_retried_total", "counter", "Tasks that failed and are tried again later", c.retried);
  page.add("tasks_dead_total", "counter", "Tasks that went to the dead letters", c.dead);
  page.add("tasks_given_back_total", "counter", "Tasks that nobody had worked on, put back", c.given_back);
  page.add("tasks_ended_elsewhere_total", "counter", "Tasks whose outcome another bridge had written",
           c.ended_elsewhere);
  page.add("tasks_deleted_total", "counter", "Tasks whose entries were deleted meanwhile", c.deleted);
  page.add("replies_failed_total", "counter", "Replies that could not be written", c.unanswered);
  page.add("write_errors_total", "counter", "Outcomes that the server refused, written again later", c.write_errors);
  page.add("reconnects_total", "counter", "Connections to the server made anew", c.reconnects);
  page.add("broker_losses_total", "counter", "Times that the broker or the queue had gone", c.broker_losses);
  page.add("tasks_moved_total", "counter", "Delayed tasks put into their stream", c.moved);
  page.add("entries_trimmed_total", "counter", "Acknowledged entries deleted", c.trimmed);
  page.add("result_bytes_total", "counter", "Bytes of results written", c.result_bytes);
  page.add("tasks_running", "gauge", "Tasks in the queue", c.running);
  page.add("tasks_unfinished", "gauge", "Tasks read whose outcome is not confirmed", c.unfinished);
  page.add("connected", "gauge", "Whether the server is connected", c.connected ? 1 : 0);
  page.add("attached", "gauge", "Whether the broker is attached", c.attached ? 1 : 0);
  if (const auto servers = c.servers.load(); servers >= 0) {
    page.add("servers", "gauge", "Servers that are attached to the queue, which has no handler",
             static_cast<std::uint64_t>(servers));
  }
  const auto sizes = c.sizes.get();
  page.add_sizes("source_waiting", "Tasks in Redis that no consumer has", sizes, &SourceSizes::waiting);
  page.add_sizes("source_taken", "Tasks that the consumers together have, not ended", sizes, &SourceSizes::taken);
  page.add_sizes("source_delayed", "Tasks that wait for their next attempt or time", sizes, &SourceSizes::delayed);
  page.add_sizes("source_dead", "Dead letters", sizes, &SourceSizes::dead);
  page.add_latency(c);
  return page.take();
}

}  // namespace ipcq::bridge
