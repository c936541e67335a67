#include "metrics_server.hpp"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ipcq/error.hpp>
#include <utility>

#include <fmt/format.h>

#include "program/logging.hpp"
#include "program/size_text.hpp"

namespace ipcq::bridge {
namespace {

constexpr int kPatience = 5;  // s, with a client that says nothing
constexpr std::chrono::seconds kLongestLife{10};
constexpr std::size_t kMostOpen = 64;
constexpr timeval kSweep{.tv_sec = 0, .tv_usec = 250'000};
constexpr ev_ssize_t kLongest = 16 << 10;  // bytes of a request

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

void answer(evhttp_request* request, int status, const char* type, const std::string& text) {
  evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", type);
  if (evhttp_request_get_command(request) == EVHTTP_REQ_HEAD) {
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Length",
                      fmt::format("{}", text.size()).c_str());
  } else {
    evbuffer_add(evhttp_request_get_output_buffer(request), text.data(), text.size());
  }
  evhttp_send_reply(request, status, nullptr, nullptr);
}

// Port of a socket that listens.
int port_of(int fd) {
  std::array<char, 64> name{};
  unsigned length = name.size();
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(name.data()), &length) != 0) return 0;
  // In both families it stands behind the family, in the order of the network.
  return static_cast<unsigned char>(name[2]) << 8 | static_cast<unsigned char>(name[3]);
}

}  // namespace

void MetricsServer::FreeBase::operator()(event_base* base) const noexcept { event_base_free(base); }
void MetricsServer::FreeHttp::operator()(evhttp* http) const noexcept { evhttp_free(http); }
void MetricsServer::FreeEvent::operator()(event* event) const noexcept { event_free(event); }

MetricsServer::MetricsServer(const std::string& address, const Counters& counters, MetricsLabels labels)
    : counters_(counters), labels_(std::move(labels)), base_(event_base_new()), http_(evhttp_new(base_.get())) {
  event_set_log_callback([](int, const char* text) { program::log::debug("metrics: {}", text); });
  const HostPort to = parse_listen(address);
  auto* const bound = evhttp_bind_socket_with_handle(http_.get(), to.host.c_str(), static_cast<ev_uint16_t>(to.port));
  if (bound == nullptr) {
    throw SystemError(
        errno, fmt::format("--metrics {}: cannot listen there; choose a free port of this host, or port 0", address));
  }
  evhttp_set_allowed_methods(http_.get(), EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
  evhttp_set_timeout(http_.get(), kPatience);
  evhttp_set_max_headers_size(http_.get(), kLongest);
  evhttp_set_max_body_size(http_.get(), kLongest);
  listener_ = evhttp_bound_socket_get_listener(bound);
  // No descriptor is left: not again before the next sweep.
  evconnlistener_set_error_cb(listener_, [](evconnlistener* listener, void*) { evconnlistener_disable(listener); });
  evhttp_set_bevcb(
      http_.get(), [](event_base*, void* self) { return static_cast<MetricsServer*>(self)->begin_connection(); }, this);
  note_.reset(event_new(
      base_.get(), -1, 0, [](int, short, void* self) { static_cast<MetricsServer*>(self)->note_connections(); }, this));
  sweep_.reset(event_new(
      base_.get(), -1, EV_PERSIST, [](int, short, void* self) { static_cast<MetricsServer*>(self)->sweep(); }, this));
  event_add(sweep_.get(), &kSweep);
  evhttp_set_cb(
      http_.get(), "/metrics",
      [](evhttp_request* request, void* self) { static_cast<const MetricsServer*>(self)->answer_counters(request); },
      this);
  evhttp_set_cb(
      http_.get(), "/healthz",
      [](evhttp_request* request, void* self) { static_cast<const MetricsServer*>(self)->answer_health(request); },
      this);
  const bool is_v6 = to.host.find(':') != std::string::npos;
  url_ = fmt::format("http://{}{}{}:{}/metrics", is_v6 ? "[" : "", to.host, is_v6 ? "]" : "",
                     port_of(evhttp_bound_socket_get_fd(bound)));
  stop_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (stop_fd_ < 0) throw SystemError(errno, "--metrics: no descriptor to be had; raise `ulimit -n`");
  stop_.reset(event_new(
      base_.get(), stop_fd_, EV_READ,
      [](int, short, void* base) { event_base_loopbreak(static_cast<event_base*>(base)); }, base_.get()));
  event_add(stop_.get(), nullptr);
  thread_ = std::thread([this] { event_base_dispatch(base_.get()); });
}

MetricsServer::~MetricsServer() {
  eventfd_write(stop_fd_, 1);
  thread_.join();
  ::close(stop_fd_);
  for (bufferevent* each : begun_) bufferevent_decref(each);
}

// The library keeps it; its socket is put into it behind this.
bufferevent* MetricsServer::begin_connection() {
  bufferevent* const begun = bufferevent_socket_new(base_.get(), -1, 0);
  if (begun != nullptr) {
    bufferevent_incref(begun);
    begun_.push_back(begun);
    event_active(note_.get(), EV_TIMEOUT, 0);
  }
  // Here, since the library accepts all that wait before it does anything else.
  if (open_.size() + begun_.size() >= kMostOpen) evconnlistener_disable(listener_);
  return begun;
}

void MetricsServer::note_connections() {
  for (bufferevent* each : std::exchange(begun_, {})) {
    const int fd = bufferevent_getfd(each);
    struct stat about {};
    if (fd >= 0 && ::fstat(fd, &about) == 0) {
      open_.push_back({.fd = fd, .inode = about.st_ino, .since = std::chrono::steady_clock::now()});
    }
    bufferevent_decref(each);
  }
}

void MetricsServer::sweep() {
  const auto now = std::chrono::steady_clock::now();
  std::erase_if(open_, [&](const Open& each) {
    struct stat about {};
    if (::fstat(each.fd, &about) != 0 || about.st_ino != each.inode) return true;
    if (now - each.since > kLongestLife) ::shutdown(each.fd, SHUT_RDWR);  // the library then sees its end
    return false;
  });
  if (open_.size() < kMostOpen) evconnlistener_enable(listener_);
}

void MetricsServer::answer_counters(evhttp_request* request) const {
  answer(request, HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", metrics_text(counters_, labels_));
}

void MetricsServer::answer_health(evhttp_request* request) const {
  const bool redis = counters_.connected, broker = counters_.attached;
  const auto servers = counters_.servers.load();
  answer(request, redis && broker && servers != 0 ? HTTP_OK : HTTP_SERVUNAVAIL, "text/plain",
         fmt::format("redis: {}\nbroker: {}\n{}", redis ? "connected" : "not connected",
                     broker ? "attached" : "not attached",
                     servers < 0 ? std::string() : fmt::format("servers: {}\n", servers)));
}

}  // namespace ipcq::bridge
