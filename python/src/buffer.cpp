#include "buffer.hpp"

#include <cstring>
#include <string>

#include "interpreter.hpp"

namespace ipcq::python {

Bytes::Bytes(nb::handle object) {
  if (PyBytes_CheckExact(object.ptr()) != 0) {  // the usual case, which needs no view
    owner_ = nb::borrow(object);
    bytes_ = {reinterpret_cast<const std::byte*>(PyBytes_AsString(object.ptr())),
              static_cast<std::size_t>(PyBytes_Size(object.ptr()))};
    return;
  }
  if (PyUnicode_Check(object.ptr()) != 0) throw nb::type_error("text has no bytes until it is encoded: text.encode()");
  if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_FULL_RO) != 0) throw nb::python_error();
  has_view_ = true;
  if (PyBuffer_IsContiguous(&view_, 'C') == 0) {
    PyBuffer_Release(&view_);
    has_view_ = false;
    throw nb::buffer_error("the elements do not lie one after the other: make a copy first (numpy.ascontiguousarray)");
  }
  bytes_ = {static_cast<const std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
}

Bytes::~Bytes() {
  if (has_view_) PyBuffer_Release(&view_);
}

Rows::Rows(nb::handle array) : array_(array), count_(array_.first_extent()) {
  if (array_.dimensions() == 0 || (array_.dimensions() == 1 && array_.item_bytes() == 1))
    throw nb::type_error(
        "send_many() takes a list of payloads, or an array whose rows are payloads; bytes have no rows");
  row_bytes_ = count_ == 0 ? 0 : array_.bytes().size() / count_;
}

WritableBytes::WritableBytes(nb::handle object) {
  if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_WRITABLE) != 0) throw nb::python_error();
  size_ = static_cast<std::size_t>(view_.len);
}

WritableBytes::~WritableBytes() { PyBuffer_Release(&view_); }

int refuse_buffer(Py_buffer* view, const char* why) noexcept {
  PyErr_SetString(PyExc_BufferError, why);
  view->obj = nullptr;
  return -1;
}

std::string count_views(std::size_t views) { return std::to_string(views) + (views == 1 ? " view is" : " views are"); }

std::size_t parse_size(nb::handle number, const char* what) {
  const nb::object index = nb::steal(PyNumber_Index(number.ptr()));
  if (!index.is_valid()) throw nb::python_error();
  const Py_ssize_t size = PyNumber_AsSsize_t(index.ptr(), PyExc_ValueError);
  if (size == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
  if (size < 0) throw nb::value_error((std::string(what) + ": it is below 0").c_str());
  return static_cast<std::size_t>(size);
}

nb::bytes copy_bytes(std::span<const std::byte> bytes) {
  constexpr std::size_t kLongCopy = std::size_t{64} << 10;
  if (bytes.size() < kLongCopy) return nb::bytes(bytes.data(), bytes.size());
  nb::bytes copy = nb::steal<nb::bytes>(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(bytes.size())));
  if (!copy.is_valid()) throw nb::python_error();
  char* const to = PyBytes_AsString(copy.ptr());
  const ReleasedGil released;
  std::memcpy(to, bytes.data(), bytes.size());
  return copy;
}

nb::object array_of(nb::handle self, nb::handle dtype, nb::handle copy) {
  const nb::object view = nb::steal(PyMemoryView_FromObject(self.ptr()));
  if (!view.is_valid()) throw nb::python_error();
  nb::dict options;
  if (!dtype.is_none()) options["dtype"] = dtype;
  if (!copy.is_none()) options["copy"] = copy;
  return nb::module_::import_("numpy").attr("array")(view, **options);
}

int fill_with_bytes(Py_buffer* view, PyObject* owner, std::span<const std::byte> bytes, Py_ssize_t& shape,
                    Py_ssize_t& stride, int flags) noexcept {
  *view = Py_buffer{};
  if ((flags & PyBUF_WRITABLE) != 0) return refuse_buffer(view, "what was received is read-only: make a copy of it");
  shape = static_cast<Py_ssize_t>(bytes.size());
  stride = 1;
  view->buf = const_cast<std::byte*>(bytes.data());
  view->len = shape;
  view->itemsize = 1;
  view->readonly = 1;
  view->ndim = 1;
  view->format = (flags & PyBUF_FORMAT) != 0 ? const_cast<char*>("B") : nullptr;
  view->shape = (flags & PyBUF_ND) != 0 ? &shape : nullptr;
  view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? &stride : nullptr;
  Py_INCREF(owner);
  view->obj = owner;
  return 0;
}

}  // namespace ipcq::python
