#include "server.hpp"

#include <nanobind/stl/string.h>

#include <ipcq/error.hpp>

#include "errors.hpp"
#include "session.hpp"
#include "shown.hpp"

namespace ipcq::python {
namespace {

using namespace nb::literals;

// Calls `answer(Duration)`, a step that the caller may have to wait for. False: nobody waits for an answer any more.
template <class Answer>
bool answer(RequestObject& self, const char* call, const Patience& patience, Answer&& answer) {
  const RequestObject::Going going(self);
  const Status status = wait_for(self.server().turn(), patience, false, std::forward<Answer>(answer));
  if (status == Status::cancelled) return false;
  if (status != Status::ok) throw_status(status, {self.server().where(), call, patience.seconds()});
  return true;
}

bool reply(RequestObject& self, nb::handle data, nb::handle timeout) {
  const Patience patience(timeout);
  self.check_open();
  self.check_no_views("reply");
  const Bytes payload(data);
  return answer(self, "reply", patience, [&](Duration left) { return self.request().reply(payload.bytes(), left); });
}

bool stream(RequestObject& self, nb::handle data, nb::handle timeout) {
  const Patience patience(timeout);
  self.check_open();
  self.check_no_views("stream");
  const Bytes payload(data);
  return answer(self, "stream", patience, [&](Duration left) { return self.request().stream(payload.bytes(), left); });
}

bool end(RequestObject& self) {
  self.check_open();
  self.check_no_views("end");
  return answer(self, "end", Patience(nb::float_(0.0)), [&](Duration) { return self.request().end(); });
}

bool fail(RequestObject& self, std::uint32_t code, const std::string& text, nb::handle timeout) {
  const Patience patience(timeout);
  self.check_open();
  self.check_no_views("fail");
  return answer(self, "fail", patience, [&](Duration left) { return self.request().fail(code, text, left); });
}

bool nack(RequestObject& self) {
  self.check_open();
  self.check_no_views("nack");
  return answer(self, "nack", Patience(nb::float_(0.0)), [&](Duration) { return self.request().nack(); });
}

Result<Request> next(ServerState& state, const Patience& patience) {
  state.check_owner();
  return wait_for(
      state.turn(), patience, false, [&](Duration left) { return state.server().receive(left); },
      [&](Result<Request>& unread) {
        const Turn::Taken taken(state.turn());
        (void)unread->nack();
      });
}

// None: there was none within that time.
nb::object request_within(ServerObject& self, const Patience& patience) {
  const Held guard(self.state());
  Result<Request> request = next(self.state(), patience);
  if (request.status() == Status::empty || request.status() == Status::timeout) return nb::none();
  if (!request) throw_status(request.status(), {self.state().where(), "try_receive", patience.seconds()});
  return nb::cast(RequestObject(self.shared(), std::move(*request)));
}

// An exception, as a caller is told of it.
std::string describe(nb::handle exception) {
  const nb::object text = nb::steal(PyObject_Repr(exception.ptr()));
  if (text.is_valid()) {
    const nb::object encoded = nb::steal(PyUnicode_AsEncodedString(text.ptr(), "utf-8", "replace"));
    if (encoded.is_valid()) return PyBytes_AsString(encoded.ptr());
  }
  PyErr_Clear();
  return "an exception without a text";
}

template <class Get>
auto ask(RequestObject& self, Get&& get) {
  self.check_open();
  const Turn::Taken taken(self.server().turn());
  return get(self.request());
}

void bind_request(nb::module_& m) {
  nb::class_<RequestObject>(
      m, "Request", nb::type_slots(buffer_slots<RequestObject>()), nb::is_final(),
      "A request that a server has received. memoryview(r), numpy.asarray(r) and bytes(r) show it, until it\n"
      "is answered: views are to be gone by then (BufferError). Its calls return False where nobody waits\n"
      "for an answer any more (cancelled, or past its time-out). One that Python drops without an answer\n"
      "tells its caller so (ServerDied).")
      .def("reply", reply, "data"_a, "timeout"_a.none() = nb::none(),
           nb::sig("def reply(self, data: BufferLike, timeout: float | None = None) -> bool"),
           "Answers the call with its last reply, by a copy. Waits until the caller has received what stream() sent\n"
           "before. Raises StatusError (too_large): the reply has no room, and the request stays open; UsageError: it "
           "was\n"
           "answered; TimeoutError, ClosedError, PeerDeadError, InterruptedError.")
      .def("stream", stream, "data"_a, "timeout"_a.none() = nb::none(),
           nb::sig("def stream(self, data: BufferLike, timeout: float | None = None) -> bool"),
           "Sends one of several replies: others follow, then reply() or end(). Waits and raises as reply().")
      .def("end", end, "Ends the replies: what stream() sent last was the last. Does not wait.")
      .def("fail", fail, "code"_a, "text"_a = "", "timeout"_a.none() = nb::none(),
           nb::sig("def fail(self, code: int, text: str = '', timeout: float | None = None) -> bool"),
           "Tells the caller that the request failed (CallFailed), and why. Waits and raises as reply().")
      .def("_fail_after_views", &RequestObject::fail_after_views, "code"_a, "text"_a,
           nb::sig("def _fail_after_views(self, code: int, text: str) -> None"))
      .def("nack", nack, "Gives the request to another server, or to this one again. Does not wait.")
      .def("__enter__",
           [](nb::object self) {
             nb::cast<RequestObject&>(self).check_open();
             return self;
           })
      .def(
          "__exit__",
          [](RequestObject& self, nb::handle type, nb::handle value, nb::handle) {
            if (!self.is_open()) return;
            if (!type.is_none()) {
              self.fail_after_views(1, describe(value));
            } else {
              self.check_no_views("the end of its block");
              self.let_go();
            }
          },
          "type"_a.none(), "value"_a.none(), "traceback"_a.none(),
          "Where an exception leaves the block the call fails with code 1 and the exception's text.")
      .def("__len__", [](RequestObject& self) { return self.request().bytes().size(); })
      .def("__bytes__",
           [](RequestObject& self) {
             return ask(self, [](Request& r) { return nb::bytes(r.bytes().data(), r.bytes().size()); });
           })
      .def(
          "tobytes",
          [](RequestObject& self) {
            return ask(self, [](Request& r) { return nb::bytes(r.bytes().data(), r.bytes().size()); });
          },
          "A copy of the request's payload.")
      .def_prop_ro(
          "metadata",
          [](RequestObject& self) {
            return ask(self, [](Request& r) { return nb::bytes(r.metadata().data(), r.metadata().size()); });
          },
          "A copy of what the caller has put beside the payload; empty: nothing.")
      .def_prop_ro("open", &RequestObject::is_open, "Whether it can be answered.")
      .def_prop_ro(
          "id", [](RequestObject& self) { return ask(self, [](Request& r) { return r.id(); }); },
          "Names its call among those of this queue: Call.id, unless it was passed on.")
      .def_prop_ro(
          "client", [](RequestObject& self) { return ask(self, [](Request& r) { return r.client(); }); },
          "Id of the caller's endpoint.")
      .def_prop_ro(
          "redeliveries", [](RequestObject& self) { return ask(self, [](Request& r) { return r.redeliveries(); }); },
          "Servers that had it before.")
      .def_prop_ro(
          "deadline_ns",
          [](RequestObject& self) -> nb::object {
            const std::uint64_t at = ask(self, [](Request& r) { return r.deadline_ns(); });
            return at == ~std::uint64_t{0} ? nb::none() : nb::object(nb::int_(at));
          },
          nb::sig("def deadline_ns(self) -> int | None"),
          "When the caller stops waiting, in ns of time.monotonic_ns(); None: never.")
      .def_prop_ro(
          "cancelled", [](RequestObject& self) { return ask(self, [](Request& r) { return r.is_cancelled(); }); },
          "Whether nobody waits for an answer any more: for long work to stop early.");
}

}  // namespace

RequestObject::~RequestObject() {
  leave_to_the_process(request_);
  if (server_ == nullptr || server_->is_left_alone()) return;
  let_go();
}

void RequestObject::check_open() const {
  server_->check_owner();
  if (!request_)
    throw UsageError(server_->where() + ": the request was answered, or given back, or its server is closed");
}

void RequestObject::check_no_views(const char* call) const {
  if (views_ == 0) return;
  throw nb::buffer_error((server_->where() + ": " + call + ": " + count_views(views_) +
                          " of the request alive: release or delete them first")
                             .c_str());
}

void RequestObject::let_go() noexcept {
  {
    const Turn::Taken taken(server_->turn());
    request_ = Request();
  }
  held_.end();
}

void RequestObject::fail_after_views(std::uint32_t code, std::string text) {
  if (!is_open()) return;
  failure_code_ = code;
  failure_text_ = std::move(text);
  fails_ = true;
  if (views_ == 0) fail_now();
}

void RequestObject::fail_now() noexcept {
  {
    const Turn::Taken taken(server_->turn());
    (void)request_.fail(failure_code_, failure_text_, Duration::zero());
  }
  let_go();  // where that did not end it: its caller reads another reply
}

void RequestObject::release_buffer() noexcept {
  if (--views_ == 0 && fails_ && request_ && !server_->is_left_alone()) fail_now();
  server_->end_view();
}

int RequestObject::get_buffer(Py_buffer* view, PyObject* self, int flags) noexcept {
  if (!is_open()) return refuse_buffer(view, "the request was answered, or given back, or its server is closed");
  const int result = fill_with_bytes(view, self, request_.bytes(), shape_, stride_, flags);
  if (result == 0) {
    ++views_;
    server_->begin_view();
  }
  return result;
}

void bind_server(nb::module_& m) {
  nb::class_<ServerObject>(m, "Server", "Answers the requests of one queue. See ipcq.Server.")
      .def(
          "__init__",
          [](ServerObject* self, SessionObject& session, const std::string& queue, const std::string& wait,
             nb::handle wait_for, const std::string& schema, const std::string& result_schema) {
            ServerOptions options;
            options.wait = parse_wait(wait);
            options.schema = schema;
            options.result_schema = result_schema;
            new (self) ServerObject(
                open_endpoint<ServerState>(session, queue, Patience(wait_for), [&](Session& of, Duration left) {
                  options.wait_for = left;
                  return of.server(queue, options);
                }));
          },
          "session"_a, "queue"_a, nb::kw_only(), "wait"_a = "hybrid", "wait_for"_a.none() = 0.0, "schema"_a = "",
          "result_schema"_a = "",
          nb::sig(
              "def __init__(self, session: Session, queue: str, *, wait: str = 'hybrid', wait_for: float | None = 0.0, "
              "schema: str = '', result_schema: str = '') -> None"))
      .def(
          "receive",
          [](ServerObject& self, nb::handle timeout) {
            const Patience patience(timeout);
            const Held guard(self.state());
            Result<Request> request = next(self.state(), patience);
            if (!request) throw_status(request.status(), {self.state().where(), "receive", patience.seconds()});
            return RequestObject(self.shared(), std::move(*request));
          },
          "timeout"_a.none() = nb::none(), nb::sig("def receive(self, timeout: float | None = None) -> Request"),
          "Takes the next request; each goes to one of the queue's servers. Raises Empty (timeout=0), TimeoutError,\n"
          "ClosedError, PeerDeadError, InterruptedError; Full: this server has as many requests as `held` allows.")
      .def(
          "try_receive", [](ServerObject& self) { return request_within(self, Patience(nb::float_(0.0))); },
          nb::sig("def try_receive(self) -> Request | None"),
          "The next request if there is one now, else None. Raises as receive().")
      .def(
          "_receive_within",
          [](ServerObject& self, nb::handle timeout) { return request_within(self, Patience(timeout)); }, "timeout"_a,
          nb::sig("def _receive_within(self, timeout: float) -> Request | None"))
      .def(
          "fileno",
          [](ServerObject& self) {
            self.state().check_owner();
            const Turn::Taken taken(self.state().turn());
            return self.state().server().fd();
          },
          "As Consumer.fileno().")
      .def(
          "close", [](ServerObject& self) { self.state().close(false); },
          "Ends the waits of other threads, and lets unanswered requests go as the queue's on_server_death says. Waits "
          "for\n"
          "the broker's answer, 10 s at most. Idempotent.")
      .def_prop_ro(
          "closed", [](const ServerObject& self) { return self.state().is_closed(); },
          "Whether it was closed, by itself or with its session.")
      .def_prop_ro(
          "queue", [](const ServerObject& self) { return self.state().queue(); }, "Name of its queue.")
      .def_prop_ro(
          "cancelled",
          [](ServerObject& self) {
            self.state().check_owner();
            const Turn::Taken taken(self.state().turn());
            return self.state().server().cancelled();
          },
          "Calls that this server found cancelled or past their time-out.");
  bind_request(m);
}

}  // namespace ipcq::python
