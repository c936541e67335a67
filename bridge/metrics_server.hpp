// MetricsServer: a bridge's counters, served over HTTP. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "metrics.hpp"

struct bufferevent;
struct evconnlistener;
struct event;
struct event_base;
struct evhttp;
struct evhttp_request;

namespace ipcq::bridge {

// At most 64 clients at once, for 10 s each: it takes no descriptors that the bridge needs, and others wait.
//
// Answers GET /metrics, and GET /healthz: 200 while Redis and the broker are there, and a server where the queue has no
// handler; else 503. A thread of its own, until destroyed.
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

  // One of a client's; the socket number is used again when it was closed, and the inode tells.
  struct Open {
    int fd = -1;
    std::uint64_t inode = 0;
    std::chrono::steady_clock::time_point since{};
  };

  bufferevent* begin_connection();
  void note_connections();
  // Lets go of those that have gone, and ends those that are there for too long.
  void sweep();
  void answer_counters(evhttp_request* request) const;
  void answer_health(evhttp_request* request) const;

  const Counters& counters_;
  const MetricsLabels labels_;
  std::unique_ptr<event_base, FreeBase> base_;
  std::unique_ptr<evhttp, FreeHttp> http_;
  evconnlistener* listener_ = nullptr;  // of http_
  std::vector<bufferevent*> begun_;     // whose sockets are not known yet; each counted as used here
  std::vector<Open> open_;
  std::unique_ptr<event, FreeEvent> note_, sweep_;
  int stop_fd_ = -1;
  std::unique_ptr<event, FreeEvent> stop_;
  std::string url_{};
  std::thread thread_;
};

}  // namespace ipcq::bridge
