#include "session.hpp"

#include <nanobind/stl/string.h>

#include "errors.hpp"
#include "logging.hpp"

namespace ipcq::python {
namespace {

using namespace nb::literals;

void construct(SessionObject* self, const std::string& broker, nb::handle wait_for) {
  const Patience patience(wait_for);
  Session session = wait_to_find(
      patience, [&](Duration left) { return connect({.broker = broker, .wait_for = left, .log = python_log()}); });
  auto state = std::make_shared<SessionState>(std::move(session));
  remember(state);
  new (self) SessionObject(std::move(state));
}

}  // namespace

void bind_session(nb::module_& m) {
  nb::class_<SessionObject>(m, "Session", "A process' connection to one broker. See ipcq.Session.")
      .def("__init__", construct, "broker"_a = "", "wait_for"_a.none() = 0.0,
           nb::sig("def __init__(self, broker: str = '', wait_for: float | None = 0.0) -> None"))
      .def(
          "close", [](SessionObject& self) { self.close(false); },
          "Closes its producers (their streams end), consumers, clients and servers, and detaches from the broker "
          "once\n"
          "no message or loan of theirs is held any more. Ends the waits of other threads. Idempotent.")
      .def(
          "__exit__",
          [](SessionObject& self, nb::handle type, nb::handle value, nb::handle) {
            self.close(has_failed(type, value));
          },
          "type"_a.none(), "value"_a.none(), "traceback"_a.none(),
          "close(); where an exception leaves the block, its producers are broken off: their streams do not end.")
      .def(
          "interrupt", [](SessionObject& self) { self.open()->nudge()->set_by_user(true); },
          "Ends every wait of this session's endpoints, now and until resume(): a call that would have to wait raises\n"
          "InterruptedError.")
      .def(
          "resume", [](SessionObject& self) { self.open()->nudge()->set_by_user(false); }, "Lets calls wait again.")
      .def_prop_ro(
          "connected",
          [](const SessionObject& self) {
            const auto& state = self.state();
            return state != nullptr && !state->is_closed() && !state->is_inherited() && state->session().connected();
          },
          "False once the broker has closed the connection or died, or the session was closed.")
      .def_prop_ro(
          "closed", [](const SessionObject& self) { return self.state() == nullptr || self.state()->is_closed(); },
          "Whether close() was called.");
}

}  // namespace ipcq::python
