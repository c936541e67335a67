// ipcq._core.Client, and its calls and their replies.
#pragma once

#include <nanobind/nanobind.h>

#include <ipcq/calls.hpp>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "buffer.hpp"
#include "lifetime.hpp"
#include "waiting.hpp"

namespace ipcq::python {

class ClientState final : public EndpointState {
 public:
  ClientState(std::shared_ptr<SessionState> session, std::string queue, Client client)
      : EndpointState(std::move(session), std::move(queue)), client_(std::move(client)) {}
  ~ClientState() override {
    leave_to_the_process(client_);
    if (!is_left_alone()) close(true);
  }
  Client& client() noexcept { return client_; }

 private:
  void end(bool) noexcept override { client_.close(); }
  void forget() noexcept override { client_ = Client(); }

  Client client_;
};

class ClientObject {
 public:
  explicit ClientObject(std::shared_ptr<ClientState> state) : state_(std::move(state)) {}
  ClientState& state() const noexcept { return *state_; }
  const std::shared_ptr<ClientState>& shared() const noexcept { return state_; }

 private:
  std::shared_ptr<ClientState> state_;
};

// A call. What it shows of a reply lies in shared memory until the next one is asked for, so that is refused while
// views of it are alive.
class CallObject {
 public:
  // Sends what `request` has: a buffer, or a loan of this client, of which `length` bytes go.
  // `waits`: for room.
  CallObject(const ClientObject& client, nb::handle request, nb::handle timeout, nb::handle length, bool waits);
  CallObject(const CallObject&) = delete;
  CallObject& operator=(const CallObject&) = delete;
  ~CallObject();

  std::uint64_t id() const noexcept { return id_; }
  ClientState& client() const noexcept { return *client_; }
  // Takes the next reply, which bytes() shows then. Throws what it comes to instead.
  void receive(const Patience& patience);
  // The same, and a copy of the reply: nothing is kept of the last one.
  nb::bytes receive_copy(const Patience& patience);
  // The same, or None where none came within that time.
  nb::object receive_within(const Patience& patience);
  // Whether nothing more will come: the last reply was received, or how it has ended.
  bool has_ended() const noexcept { return has_ended_; }
  void cancel();

  bool has_reply() const noexcept { return has_reply_; }
  bool has_more() const noexcept { return reply_.has_more(); }
  std::span<const std::byte> reply() const noexcept { return reply_.bytes(); }
  int get_buffer(Py_buffer* view, PyObject* self, int flags) noexcept;
  void release_buffer() noexcept {
    --views_;
    client_->end_view();
  }

 private:
  // While a thread waits for it without the GIL.
  class Going {
   public:
    explicit Going(CallObject& call) noexcept : call_(call) { call.is_going_ = true; }
    Going(const Going&) = delete;
    Going& operator=(const Going&) = delete;
    ~Going() { call_.is_going_ = false; }

   private:
    CallObject& call_;
  };
  // Throws UsageError while a thread waits for it, BufferError while views of its last reply are alive.
  void check_is_mine(const char* call) const;
  Status take(const Patience& patience);
  nb::bytes copy_reply();
  void check_no_views(const char* call) const;
  [[noreturn]] void throw_outcome(Status status, const Patience& patience);
  // Lets go what the client has of it; `over` is what later calls come to.
  void end(Status over) noexcept;

  std::shared_ptr<ClientState> client_;
  Held held_;
  Call call_;
  Reply reply_;
  std::uint64_t id_ = 0;
  double timeout_s_ = -1;
  std::size_t views_ = 0;
  Status over_ = Status::ok;  // else how it has ended
  std::uint32_t failure_code_ = 0;
  std::string failure_text_;
  bool has_reply_ = false;
  bool has_unread_ = false;  // a signal's handler has thrown when it came
  bool is_going_ = false;
  bool has_ended_ = false;
  Py_ssize_t shape_ = 0;
  Py_ssize_t stride_ = 1;
};

void bind_client(nb::module_& m);

}  // namespace ipcq::python
