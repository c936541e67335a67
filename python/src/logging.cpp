#include "logging.hpp"

#include <nanobind/nanobind.h>

#include "interpreter.hpp"
#include "lifetime.hpp"

namespace ipcq::python {
namespace {

namespace nb = nanobind;

const char* method_of(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warning:
      return "warning";
    case LogLevel::error:
      return "error";
  }
  return "error";
}

}  // namespace

LogCallback python_log() {
  return [of = forks()](LogLevel level, std::string_view text) {
    if (of != forks()) return;
    const MayTakeGil may;
    if (!may) return;
    const nb::gil_scoped_acquire gil;
    try {
      const nb::object logger = nb::module_::import_("logging").attr("getLogger")("ipcq");
      logger.attr(method_of(level))("%s", nb::str(text.data(), text.size()));
    } catch (nb::python_error& error) {  // of a handler of the user's
      error.discard_as_unraisable("ipcq: logging");
    }
  };
}

}  // namespace ipcq::python
