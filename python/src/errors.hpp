// How what the library throws and returns becomes an exception of ipcq/_errors.py.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <cstdint>
#include <ipcq/status.hpp>
#include <string_view>

namespace ipcq::python {

// Has nanobind translate ipcq::Error and its kinds.
void register_errors();

// What a call was about, for the text of its exception.
struct CallText {
  std::string_view where;        // "queue 'frames'"
  std::string_view call;         // "receive"
  double timeout_s = -1;         // below 0: none
  std::size_t done = 0;          // of a batch: how many of its items were done before
  std::string_view reason = {};  // empty: what the status says of the call
};
// Throws the exception of a status other than `ok`, as nanobind::python_error. Needs the GIL.
[[noreturn]] void throw_status(Status status, const CallText& text);

// As ipcq.Status.
nanobind::object status_object(Status status);

// Whether a `with` is left by an exception that says that something has failed: any but a SystemExit without an error.
bool has_failed(nanobind::handle type, nanobind::handle value);

// The same as throw_status() of a call whose server says that it failed.
[[noreturn]] void throw_call_failed(std::string_view where, std::uint32_t code, std::string_view text);

}  // namespace ipcq::python
