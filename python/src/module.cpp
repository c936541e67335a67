// ipcq._core: the library for Python. What users see is the package ipcq, which stands on it.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <ipcq/builtin_handlers.hpp>
#include <ipcq/schema.hpp>
#include <ipcq/version.hpp>

#include "broker.hpp"
#include "buffer_bindings.hpp"
#include "buffer_view_bindings.hpp"
#include "client.hpp"
#include "consumer.hpp"
#if IPCQ_PYTHON_CUDA
#include "device_bindings.hpp"
#endif
#include "dlpack.hpp"
#include "errors.hpp"
#include "interpreter.hpp"
#include "lifetime.hpp"
#include "logging.hpp"
#include "message_iterator.hpp"
#include "options.hpp"
#include "producer.hpp"
#include "server.hpp"
#include "session.hpp"

NB_MODULE(_core, m) {
  namespace nb = nanobind;
  using namespace ipcq::python;
  if (PyInterpreterState_GetID(PyInterpreterState_Get()) != 0)
    throw nb::import_error("ipcq works in the main interpreter alone: what it has is the process'");
  m.doc() = "libipcq for Python. Use the package ipcq, which stands on it.";
  nb::set_leak_warnings(false);  // globals of a script live until the process ends
  register_errors();
  bind_options(m);
  bind_broker(m);
  bind_session(m);
  bind_message(m);
  bind_iterator(m);
  bind_consumer(m);
  bind_producer(m);
  bind_client(m);
  bind_server(m);
  bind_buffer_views(m);
  bind_buffers(m);
#if IPCQ_PYTHON_CUDA
  bind_device(m);
#endif
  m.attr("library_version") = ipcq::kVersion;
  m.attr("abi") = ipcq::kAbiVersion;
  m.attr("has_cuda") = static_cast<bool>(IPCQ_PYTHON_CUDA);
  m.attr("compiler") = IPCQ_PYTHON_COMPILER;
  m.attr("architectures") = IPCQ_PYTHON_ARCHITECTURES;  // separated by blanks
  m.def(
      "to_json",
      [](const std::string& schema, nb::bytes payload, nb::bytes metadata) {
        const auto bytes = [](const nb::bytes& of) {
          return std::span(static_cast<const std::byte*>(of.data()), of.size());
        };
        return ipcq::Schema::parse(schema).to_json(bytes(payload), bytes(metadata));
      },
      nb::arg("schema"), nb::arg("payload"), nb::arg("metadata") = nb::bytes("", 0),
      nb::sig("def to_json(schema: str, payload: bytes, metadata: bytes = b'') -> str"),
      "A message of a type as JSON, by the queue's schema as text. Raises UsageError: no schema, or no such value.");
  m.def("handler_names", &ipcq::handler_names, "Names of the built-in handlers.");
  // At the interpreter's end: everything closes while log lines can still be delivered.
  m.def("_close_all", [] {
    close_all_sessions();
    stop_all_brokers();
    begin_ending();
  });
}
