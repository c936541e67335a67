// Metrics: a bridge's counters as text that Prometheus reads, served over HTTP. Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "counters.hpp"

namespace httplib {  // NOLINT(readability-identifier-naming): it is that of the library
class Server;
}

namespace ipcq::bridge {

// What tells one bridge from another, as labels.
struct MetricsLabels {
  std::string queue{}, group{};
};

// The text of Prometheus' format 0.0.4.
std::string metrics_text(const Counters& counters, const MetricsLabels& labels);

// Answers GET /metrics, and GET /healthz: 200 while Redis and the broker are there, else 503. A thread of its own,
// until destroyed.
class MetricsServer {
 public:
  // HOST:PORT, [HOST]:PORT or :PORT (on 127.0.0.1); port 0: any. Throws UsageError, SystemError (the port is taken).
  MetricsServer(const std::string& address, const Counters& counters, MetricsLabels labels);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  // http://HOST:PORT/metrics
  const std::string& url() const noexcept { return url_; }

 private:
  std::unique_ptr<httplib::Server> server_;
  std::string url_{};
  std::jthread thread_;
};

}  // namespace ipcq::bridge
