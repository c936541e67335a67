// MetricsServer: a bridge's counters, served over HTTP. Thread-safe.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <thread>

#include "metrics.hpp"

struct event;
struct event_base;
struct evhttp;
struct evhttp_request;

namespace ipcq::bridge {

// Answers GET /metrics, and GET /healthz: 200 while Redis and the broker are there,
// and a server where the queue has no handler; else 503. A thread of its own,
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
  struct FreeBase {
    void operator()(event_base* base) const noexcept;
  };
  struct FreeHttp {
    void operator()(evhttp* http) const noexcept;
  };
  struct FreeEvent {
    void operator()(event* event) const noexcept;
  };
  struct Page {
    const MetricsServer* server = nullptr;
    void (MetricsServer::*page)(evhttp_request*) const = nullptr;
  };

  void answer_counters(evhttp_request* request) const;
  void answer_health(evhttp_request* request) const;

  const Counters& counters_;
  const MetricsLabels labels_;
  std::deque<Page> pages_;
  std::unique_ptr<event_base, FreeBase> base_;
  std::unique_ptr<evhttp, FreeHttp> http_;
  int stop_fd_ = -1;
  std::unique_ptr<event, FreeEvent> stop_;
  std::string url_{};
  std::thread thread_;
};

}  // namespace ipcq::bridge
