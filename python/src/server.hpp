// ipcq._core.Server, and the requests that it receives.
#pragma once

#include <nanobind/nanobind.h>

#include <ipcq/calls.hpp>
#include <memory>
#include <string>
#include <utility>

#include "buffer.hpp"
#include "lifetime.hpp"
#include "waiting.hpp"

namespace ipcq::python {

class ServerState final : public EndpointState {
 public:
  ServerState(std::shared_ptr<SessionState> session, std::string queue, Server server)
      : EndpointState(std::move(session), std::move(queue)), server_(std::move(server)) {}
  ~ServerState() override {
    leave_to_the_process(server_);
    if (!is_left_alone()) close(true);
  }
  Server& server() noexcept { return server_; }

 private:
  void end(bool) noexcept override { server_.close(); }
  void forget() noexcept override { server_ = Server(); }

  Server server_;
};

class ServerObject {
 public:
  explicit ServerObject(std::shared_ptr<ServerState> state) : state_(std::move(state)) {}
  ServerState& state() const noexcept { return *state_; }
  const std::shared_ptr<ServerState>& shared() const noexcept { return state_; }

 private:
  std::shared_ptr<ServerState> state_;
};

class RequestObject {
 public:
  RequestObject(std::shared_ptr<ServerState> server, Request request)
      : server_(std::move(server)), held_(*server_), request_(std::move(request)) {}
  RequestObject(RequestObject&&) noexcept = default;
  RequestObject& operator=(RequestObject&&) = delete;
  ~RequestObject();

  ServerState& server() const noexcept { return *server_; }
  Request& request() noexcept { return request_; }
  const Request& request() const noexcept { return request_; }
  bool is_open() const noexcept {
    return !is_going_ && !fails_ && !server_->is_closed() && !server_->is_inherited() && static_cast<bool>(request_);
  }
  // Throws UsageError if it was answered.
  void check_open() const;
  // What follows ends the request's bytes: throws BufferError while views of it are alive.
  void check_no_views(const char* call) const;
  // While a step works on it without the GIL, which may end it: nothing else may, and views cannot begin.
  class Going {
   public:
    explicit Going(RequestObject& request) noexcept : request_(request) { request.is_going_ = true; }
    Going(const Going&) = delete;
    Going& operator=(const Going&) = delete;
    ~Going() {
      request_.is_going_ = false;
      if (!request_.request_) request_.held_.end();
    }

   private:
    RequestObject& request_;
  };
  // Lets it go where nobody has answered it; its caller is told.
  void let_go() noexcept;
  // Fails it, at once or with its last view: by an exception, whose traceback may have one.
  void fail_after_views(std::uint32_t code, std::string text);

  int get_buffer(Py_buffer* view, PyObject* self, int flags) noexcept;
  void release_buffer() noexcept;

 private:
  void fail_now() noexcept;

  std::shared_ptr<ServerState> server_;
  Held held_;
  Request request_;
  std::size_t views_ = 0;
  bool is_going_ = false;
  bool fails_ = false;  // with its last view
  std::uint32_t failure_code_ = 0;
  std::string failure_text_;
  Py_ssize_t shape_ = 0;
  Py_ssize_t stride_ = 1;
};

void bind_server(nb::module_& m);

}  // namespace ipcq::python
