#include "errors.hpp"

#include <exception>
#include <ipcq/error.hpp>

namespace ipcq::python {
namespace {

namespace nb = nanobind;

nb::object of_errors(const char* name) { return nb::module_::import_("ipcq._errors").attr(name); }

[[noreturn]] void raise(const nb::object& error) {
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
  throw nb::python_error();
}

void raise(const char* kind, const std::exception& error) {
  const nb::object type = of_errors(kind);
  PyErr_SetObject(type.ptr(), type(error.what()).ptr());
}

void translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const UsageError& e) {
    raise("UsageError", e);
  } catch (const NotFoundError& e) {
    raise("NotFoundError", e);
  } catch (const PermissionError& e) {
    raise("PermissionError", e);
  } catch (const BackendError& e) {
    raise("BackendError", e);
  } catch (const LayoutError& e) {
    raise("LayoutError", e);
  } catch (const SystemError& e) {
    const nb::object type = of_errors("SystemError");
    PyErr_SetObject(type.ptr(), type(e.code(), e.what()).ptr());
  } catch (const Error& e) {
    raise("Error", e);
  }
}

}  // namespace

void register_errors() { nb::register_exception_translator(translate); }

void throw_status(Status status, const CallText& text) {
  const nb::object error =
      of_errors("status_error")(static_cast<int>(status), nb::str(text.where.data(), text.where.size()),
                                nb::str(text.call.data(), text.call.size()),
                                text.timeout_s < 0 ? nb::none() : nb::object(nb::float_(text.timeout_s)), text.done,
                                nb::str(text.reason.data(), text.reason.size()));
  raise(error);
}

nb::object status_object(Status status) { return of_errors("Status")(static_cast<int>(status)); }

bool has_failed(nb::handle type, nb::handle value) {
  if (type.is_none()) return false;
  if (PyObject_IsSubclass(type.ptr(), PyExc_SystemExit) != 1 || value.is_none()) return true;
  const nb::object code = value.attr("code");
  return !(code.is_none() || (nb::isinstance<nb::int_>(code) && nb::cast<std::int64_t>(code) == 0));
}

void throw_call_failed(std::string_view where, std::uint32_t code, std::string_view text) {
  // A server may have cut its text off within a character.
  const nb::object words = nb::bytes(text.data(), text.size()).attr("decode")("utf-8", "replace");
  raise(of_errors("CallFailed").attr("of")(nb::str(where.data(), where.size()), code, words));
}

}  // namespace ipcq::python
