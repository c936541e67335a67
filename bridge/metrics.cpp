#include "metrics.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <ipcq/error.hpp>
#include <ipcq/version.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <httplib.h>

#include "program/size_text.hpp"

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
  std::string take() { return std::move(text_); }

 private:
  void head(std::string_view name, std::string_view type, std::string_view help) {
    text_ += fmt::format("# HELP ipcq_redis_{0} {1}\n# TYPE ipcq_redis_{0} {2}\n", name, help, type);
  }
  std::string labels_, text_;
};

struct HostPort {
  std::string host = "127.0.0.1";
  int port = 0;
};

HostPort parse_listen(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) {
    throw UsageError(fmt::format("--metrics: '{}' has no port; write HOST:PORT, or :PORT for 127.0.0.1", text));
  }
  HostPort to;
  auto host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (!host.empty()) to.host = host;
  to.port = static_cast<int>(program::parse_number(text.substr(colon + 1), "--metrics: the port", 0, 65535));
  return to;
}

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
  page.add_latency(c);
  return page.take();
}

MetricsServer::MetricsServer(const std::string& address, const Counters& counters, MetricsLabels labels)
    : server_(std::make_unique<httplib::Server>()) {
  const HostPort to = parse_listen(address);
  // The library's own options would let two programs share a port.
  server_->set_socket_options([](int socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  server_->set_keep_alive_max_count(1);  // a scraper that keeps its connection holds a thread
  server_->set_read_timeout(2);
  server_->new_task_queue = [] { return new httplib::ThreadPool(2); };  // the library deletes it
  server_->Get("/metrics", [&counters, labels](const httplib::Request&, httplib::Response& response) {
    response.set_content(metrics_text(counters, labels), "text/plain; version=0.0.4; charset=utf-8");
  });
  server_->Get("/healthz", [&counters](const httplib::Request&, httplib::Response& response) {
    const bool redis = counters.connected, broker = counters.attached;
    response.status = redis && broker ? 200 : 503;
    response.set_content(fmt::format("redis: {}\nbroker: {}\n", redis ? "connected" : "not connected",
                                     broker ? "attached" : "not attached"),
                         "text/plain");
  });
  const int port =
      to.port == 0 ? server_->bind_to_any_port(to.host) : (server_->bind_to_port(to.host, to.port) ? to.port : -1);
  if (port < 0) {
    throw SystemError(
        EADDRINUSE,
        fmt::format("--metrics {}: cannot listen there; choose a free port of this host, or port 0", address));
  }
  const bool is_v6 = to.host.find(':') != std::string::npos;
  url_ = fmt::format("http://{}{}{}:{}/metrics", is_v6 ? "[" : "", to.host, is_v6 ? "]" : "", port);
  thread_ = std::jthread([this] { server_->listen_after_bind(); });
  while (!server_->is_running())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // or stop() finds nothing to stop
}

MetricsServer::~MetricsServer() { server_->stop(); }

}  // namespace ipcq::bridge
