#include "client.hpp"

#include <nanobind/stl/string.h>

#include <ipcq/error.hpp>

#include "errors.hpp"
#include "loan.hpp"
#include "server.hpp"
#include "session.hpp"
#include "shown.hpp"

namespace ipcq::python {
namespace {

using namespace nb::literals;

constexpr std::size_t kLongCopy = std::size_t{64} << 10;

[[noreturn]] void not_sent(const ClientState& state, Status status, const Patience& patience) {
  throw_status(status, {state.where(), "call", patience.seconds()});
}

// Sends: `attempt(deadline, room_for)` asks the library.
template <class Attempt>
Call send(ClientState& state, const Patience& patience, bool waits, bool long_work, Attempt&& attempt) {
  static const Patience none{nb::float_(0.0)};
  Result<Call> call = wait_for(state.turn(), waits ? patience : none, long_work,
                               [&](Duration room_for) { return attempt(patience.left(), room_for); });
  if (!call) not_sent(state, call.status(), patience);
  return std::move(*call);
}

Call request(const ClientObject& client, nb::handle what, const Patience& patience, nb::handle length, bool waits) {
  ClientState& state = client.state();
  state.check_owner();
  if (nb::isinstance<LoanObject>(what)) {
    LoanObject& loan = nb::cast<LoanObject&>(what);
    const std::size_t bytes = loan.prepare("call", length);
    const LoanObject::Going going(loan);
    Call call = send(state, patience, waits, false, [&](Duration deadline, Duration room_for) {
      return state.client().request(loan.loan(), bytes, deadline, room_for);
    });
    return call;
  }
  if (!length.is_none()) throw nb::type_error("length: only of a loan; slice the buffer");
  const Bytes payload(what);
  const auto bytes = payload.bytes();
  return send(state, patience, waits, bytes.size() >= kLongCopy,
              [&](Duration deadline, Duration room_for) { return state.client().request(bytes, deadline, room_for); });
}

nb::object next_id(ClientObject& self, nb::handle timeout) {
  const Patience patience(timeout);
  self.state().check_owner();
  const Result<std::uint64_t> id = wait_for(self.state().turn(), patience, false,
                                            [&](Duration left) { return self.state().client().wait_any(left); });
  if (id) return nb::int_(*id);
  if (id.status() == Status::empty) return nb::none();
  throw_status(id.status(), {self.state().where(), "wait_any", patience.seconds()});
}

// Its answer comes from the other queue: this side is done with the request.
bool forward(ClientObject& self, RequestObject& request, nb::handle timeout) {
  const Patience patience(timeout);
  self.state().check_owner();
  request.check_open();
  request.check_no_views("forward");
  const RequestObject::Going going(request);
  // Without the GIL: it waits for another endpoint's turn.
  const Status status = wait_for(self.state().turn(), patience, true, [&](Duration left) {
    Turn& server = request.server().turn();
    server.take();
    const Turn::Given given(server);
    return self.state().client().forward(request.request(), left);
  });
  if (status == Status::cancelled) return false;
  if (status != Status::ok) throw_status(status, {self.state().where(), "forward", patience.seconds()});
  return true;
}

LoanObject loan(ClientObject& self, nb::handle timeout) {
  const Patience patience(timeout);
  self.state().check_owner();
  const Held guard(self.state());
  Result<Loan> loan =
      wait_for(self.state().turn(), patience, false, [&](Duration left) { return self.state().client().loan(left); });
  if (!loan) throw_status(loan.status(), {self.state().where(), "loan", patience.seconds()});
  return {self.shared(), std::move(*loan)};
}

void construct(ClientObject* self, SessionObject& session, const std::string& queue, const std::string& wait,
               nb::handle wait_for, std::size_t reply_bytes, bool needs_server, const std::string& schema,
               const std::string& result_schema) {
  ClientOptions options;
  options.wait = parse_wait(wait);
  options.reply_bytes = reply_bytes;
  options.needs_server = needs_server;
  options.schema = schema;
  options.result_schema = result_schema;
  new (self)
      ClientObject(open_endpoint<ClientState>(session, queue, Patience(wait_for), [&](Session& of, Duration left) {
        options.wait_for = left;
        return of.client(queue, options);
      }));
}

template <class Get>
auto ask(ClientObject& self, Get&& get) {
  self.state().check_owner();
  const Turn::Taken taken(self.state().turn());
  return get(self.state().client());
}

void bind_call(nb::module_& m) {
  nb::class_<CallObject>(m, "Call", nb::type_slots(buffer_slots<CallObject>()),
                         "One call that is under way. See ipcq.Call.")
      .def(
          "__init__",
          [](CallObject* self, const ClientObject& client, nb::handle request, nb::handle timeout, nb::handle length,
             bool waits) { new (self) CallObject(client, request, timeout, length, waits); },
          "client"_a, "request"_a, "timeout"_a.none() = nb::none(), "length"_a.none() = nb::none(), "waits"_a = true,
          nb::sig("def __init__(self, client: Client, request: BufferLike | Loan, timeout: float | None = None, "
                  "length: int | None = None, waits: bool = True) -> None"))
      .def(
          "receive", [](CallObject& self, nb::handle timeout) { return self.receive_copy(Patience(timeout)); },
          "timeout"_a.none() = nb::none(), nb::sig("def receive(self, timeout: float | None = None) -> bytes"),
          "A copy of the call's next reply, usually its only one; `has_more` says whether another follows.\n\n"
          "Waits up to `timeout` seconds, and no longer than the call's own time-out. Raises TimeoutError (it goes "
          "on);\n"
          "CallFailed, ServerDied, NoServer, Expired, EndOfStream (there is no further reply), Cancelled;\n"
          "InterruptedError, ClosedError, PeerDeadError; BufferError: views of the reply before are alive.")
      .def(
          "receive_view",
          [](nb::object self, nb::handle timeout) {
            nb::cast<CallObject&>(self).receive(Patience(timeout));
            return nb::steal(PyMemoryView_FromObject(self.ptr()));
          },
          "timeout"_a.none() = nb::none(),
          nb::sig("def receive_view(self, timeout: float | None = None) -> memoryview"),
          "The same without a copy: a read-only view, which is to be gone (view.release(), or deleted with the arrays\n"
          "that were made of it) before the next reply is asked for, or the call cancelled.")
      .def(
          "try_receive", [](CallObject& self) { return self.receive_within(Patience(nb::float_(0.0))); },
          nb::sig("def try_receive(self) -> bytes | None"),
          "The next reply if it is there now, else None. Raises as receive().")
      .def(
          "_receive_within",
          [](CallObject& self, nb::handle timeout) { return self.receive_within(Patience(timeout)); }, "timeout"_a,
          nb::sig("def _receive_within(self, timeout: float) -> bytes | None"))
      .def("cancel", &CallObject::cancel,
           "Ends the call: its server can see that nobody waits, and what comes for it is discarded. Does not wait.")
      .def_prop_ro("id", &CallObject::id,
                   "Names this call among those of its queue; Request.id of one that was not passed on.")
      .def_prop_ro("has_more", &CallObject::has_more, "Whether another reply follows the one received last.")
      .def_prop_ro("ended", &CallObject::has_ended, "Whether it is over: receive() says how it has ended.");
}

}  // namespace

CallObject::CallObject(const ClientObject& client, nb::handle what, nb::handle timeout, nb::handle length, bool waits)
    : client_(client.shared()) {
  const Patience patience(timeout);
  Held held(*client_);
  call_ = request(client, what, patience, length, waits);
  id_ = call_.id();
  timeout_s_ = patience.seconds();
  held_.begin(*client_);
}

CallObject::~CallObject() {
  leave_to_the_process(call_);
  if (client_->is_left_alone()) return;
  {
    const Turn::Taken taken(client_->turn());
    call_ = Call();
  }
  held_.end();
}

void CallObject::check_no_views(const char* call) const {
  if (views_ == 0) return;
  throw nb::buffer_error((client_->where() + ": " + call + ": " + count_views(views_) +
                          " of the call's last reply alive: release or delete them first")
                             .c_str());
}

Status CallObject::take(const Patience& patience) {
  check_is_mine("receive");
  if (has_unread_) {
    has_unread_ = false;
    return Status::ok;
  }
  if (over_ != Status::ok) return over_;
  has_reply_ = false;
  const Going going(*this);
  const auto keep = [this](const Result<Reply>& reply) {
    if (!reply) return;
    reply_ = *reply;
    has_reply_ = true;
    has_ended_ = !reply_.has_more();
  };
  const Result<Reply> reply = wait_for(
      client_->turn(), patience, false, [&](Duration left) { return call_.receive(left); },
      [&](const Result<Reply>& unread) {
        keep(unread);
        has_unread_ = static_cast<bool>(unread);
      });
  keep(reply);
  return reply.status();
}

void CallObject::check_is_mine(const char* call) const {
  client_->check_owner();
  if (is_going_)
    throw UsageError(client_->where() + ": another thread waits for this call: a call is for one at a time");
  check_no_views(call);
}

void CallObject::receive(const Patience& patience) {
  if (const Status status = take(patience); status != Status::ok) throw_outcome(status, patience);
}

nb::object CallObject::receive_within(const Patience& patience) {
  const Status status = take(patience);
  if (status == Status::empty || status == Status::timeout) return nb::none();
  if (status != Status::ok) throw_outcome(status, patience);
  return copy_reply();
}

nb::bytes CallObject::receive_copy(const Patience& patience) {
  receive(patience);
  return copy_reply();
}

nb::bytes CallObject::copy_reply() {
  nb::bytes copy(reply_.bytes().data(), reply_.bytes().size());
  if (!reply_.has_more()) end(Status::end);
  return copy;
}

void CallObject::end(Status over) noexcept {
  over_ = over;
  has_ended_ = true;
  has_reply_ = false;
  const Turn::Taken taken(client_->turn());
  call_.cancel();
}

void CallObject::throw_outcome(Status status, const Patience& patience) {
  const bool is_end = status == Status::failed || status == Status::end || status == Status::server_died ||
                      status == Status::no_server || status == Status::expired || status == Status::cancelled;
  if (is_end && over_ == Status::ok) {
    if (status == Status::failed) {
      failure_code_ = call_.failure_code();
      failure_text_ = call_.failure_text();
    }
    end(status);
  }
  if (status == Status::failed) throw_call_failed(client_->where(), failure_code_, failure_text_);
  throw_status(status, {client_->where(), "reply", status == Status::expired ? timeout_s_ : patience.seconds()});
}

void CallObject::cancel() {
  check_is_mine("cancel");
  if (over_ == Status::ok) end(Status::cancelled);
}

int CallObject::get_buffer(Py_buffer* view, PyObject* self, int flags) noexcept {
  view->obj = nullptr;
  if (!has_reply_ || is_going_ || client_->is_closed() || client_->is_inherited())
    return refuse_buffer(view, "no reply was received that a view could show");
  const int result = fill_with_bytes(view, self, reply_.bytes(), shape_, stride_, flags);
  if (result == 0) {
    ++views_;
    client_->begin_view();
  }
  return result;
}

void bind_client(nb::module_& m) {
  nb::class_<ClientObject>(m, "Client", "Calls the servers of one queue. See ipcq.Client.")
      .def(
          "__init__", construct, "session"_a, "queue"_a, nb::kw_only(), "wait"_a = "hybrid", "wait_for"_a.none() = 0.0,
          "reply_bytes"_a = 0, "needs_server"_a = false, "schema"_a = "", "result_schema"_a = "",
          nb::sig(
              "def __init__(self, session: Session, queue: str, *, wait: str = 'hybrid', wait_for: float | None = 0.0, "
              "reply_bytes: int = 0, needs_server: bool = False, schema: str = '', result_schema: str = '') -> None"))
      .def("loan", loan, "timeout"_a.none() = nb::none(),
           nb::sig("def loan(self, timeout: float | None = None) -> Loan"),
           "Borrows a slot for a request that you write in place; call(loan) sends it. Raises as Producer.loan().")
      .def(
          "forward", forward, "request"_a, "timeout"_a.none() = nb::none(),
          nb::sig("def forward(self, request: Request, timeout: float | None = None) -> bool"),
          "Passes a received request on to this client's queue: whoever takes it there answers in its server's place.\n"
          "False: nobody waits for an answer any more. Raises as Producer.send(), and it stays open then; "
          "BufferError:\n"
          "views of it are alive.")
      .def("wait_any", next_id, "timeout"_a.none() = nb::none(),
           nb::sig("def wait_any(self, timeout: float | None = None) -> int | None"),
           "The id of a call that has news: receive() of it would return something. None: no call is under way that "
           "could,\n"
           "or none has now (timeout=0). Raises TimeoutError, ClosedError, PeerDeadError, InterruptedError.")
      .def(
          "fileno", [](ClientObject& self) { return ask(self, [](Client& c) { return c.fd(); }); },
          "As Consumer.fileno(), of wait_any().")
      .def(
          "close", [](ClientObject& self) { self.state().close(false); },
          "Cancels what is under way. Waits for the broker's answer, 10 s at most. Idempotent.")
      .def_prop_ro(
          "closed", [](const ClientObject& self) { return self.state().is_closed(); },
          "Whether it was closed, by itself or with its session.")
      .def_prop_ro(
          "queue", [](const ClientObject& self) { return self.state().queue(); }, "Name of its queue.")
      .def_prop_ro(
          "calls_under_way",
          [](ClientObject& self) { return ask(self, [](Client& c) { return c.calls_under_way(); }); },
          "Number of its calls that are not over, of which the queue lets it have `calls`.")
      .def_prop_ro(
          "max_bytes", [](ClientObject& self) { return ask(self, [](Client& c) { return c.max_bytes(); }); },
          "Largest request in bytes.")
      .def_prop_ro(
          "slot_bytes", [](ClientObject& self) { return ask(self, [](Client& c) { return c.slot_bytes(); }); },
          "Capacity of a slot in bytes; 0: the queue has none.")
      .def_prop_ro(
          "inline_bytes", [](ClientObject& self) { return ask(self, [](Client& c) { return c.inline_bytes(); }); },
          "Largest request in bytes that needs no slot.")
      .def_prop_ro(
          "inline_reply_bytes",
          [](ClientObject& self) { return ask(self, [](Client& c) { return c.inline_reply_bytes(); }); },
          "Largest reply in bytes to a request without a slot.");
  bind_call(m);
}

}  // namespace ipcq::python
