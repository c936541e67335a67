// The buffer protocol, for reading what callers pass in and for showing slots and messages without a copy.
//
// Py_buffer and its functions joined Python's stable ABI with 3.11; they have been in every interpreter before it, with
// the same layout. A build for the stable ABI of 3.10 declares them here.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <span>
#include <string>

#if defined(Py_LIMITED_API) && Py_LIMITED_API < 0x030B0000
extern "C" {
typedef struct {  // NOLINT(modernize-use-using): as Python has it
  void* buf;
  PyObject* obj;
  Py_ssize_t len;
  Py_ssize_t itemsize;
  int readonly;
  int ndim;
  char* format;
  Py_ssize_t* shape;
  Py_ssize_t* strides;
  Py_ssize_t* suboffsets;
  void* internal;
} Py_buffer;
PyAPI_FUNC(int) PyObject_CheckBuffer(PyObject* object);
PyAPI_FUNC(int) PyObject_GetBuffer(PyObject* object, Py_buffer* view, int flags);
PyAPI_FUNC(void) PyBuffer_Release(Py_buffer* view);
PyAPI_FUNC(int) PyBuffer_IsContiguous(const Py_buffer* view, char order);
PyAPI_FUNC(int) PyBuffer_ToContiguous(void* to, const Py_buffer* view, Py_ssize_t length, char order);
}
// NOLINTBEGIN(cppcoreguidelines-macro-usage): as Python has them
#define PyBUF_SIMPLE 0
#define PyBUF_WRITABLE 0x0001
#define PyBUF_FORMAT 0x0004
#define PyBUF_ND 0x0008
#define PyBUF_STRIDES (0x0010 | PyBUF_ND)
#define PyBUF_C_CONTIGUOUS (0x0020 | PyBUF_STRIDES)
#define PyBUF_F_CONTIGUOUS (0x0040 | PyBUF_STRIDES)
#define PyBUF_ANY_CONTIGUOUS (0x0080 | PyBUF_STRIDES)
#define PyBUF_FULL_RO (0x0100 | PyBUF_STRIDES | PyBUF_FORMAT)
#define Py_bf_getbuffer 1
#define Py_bf_releasebuffer 2
// NOLINTEND(cppcoreguidelines-macro-usage)
#endif

namespace ipcq::python {

namespace nb = nanobind;

// The bytes of an object that a caller has passed, for as long as this is alive: bytes, bytearray, memoryview, array,
// NumPy's arrays. The caller's thread must hold the GIL when it is made and when it ends, not in between.
class Bytes {
 public:
  // Throws TypeError for what shows no bytes (text, too: it has none until it is encoded), BufferError for elements
  // that do not lie one after the other.
  explicit Bytes(nb::handle object);
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  ~Bytes();

  std::span<const std::byte> bytes() const noexcept { return bytes_; }
  std::size_t item_bytes() const noexcept { return has_view_ ? static_cast<std::size_t>(view_.itemsize) : 1; }
  int dimensions() const noexcept { return has_view_ ? view_.ndim : 1; }
  // Elements of the first dimension; the bytes of what has none.
  std::size_t first_extent() const noexcept {
    return has_view_ && view_.ndim > 0 ? static_cast<std::size_t>(view_.shape[0]) : bytes_.size();
  }

 private:
  nb::object owner_;  // of bytes; a view keeps its own
  std::span<const std::byte> bytes_;
  Py_buffer view_{};
  bool has_view_ = false;
};

// The same of what a call is to write to. Throws BufferError also for what is read-only.
class WritableBytes {
 public:
  explicit WritableBytes(nb::handle object);
  WritableBytes(const WritableBytes&) = delete;
  WritableBytes& operator=(const WritableBytes&) = delete;
  ~WritableBytes();

  std::span<std::byte> bytes() const noexcept { return {static_cast<std::byte*>(view_.buf), size_}; }

 private:
  Py_buffer view_{};
  std::size_t size_ = 0;
};

// The rows of an array, whose elements lie one after the other: what its first dimension counts. Throws as Bytes.
class Rows {
 public:
  explicit Rows(nb::handle array);
  std::size_t count() const noexcept { return count_; }
  std::span<const std::byte> row(std::size_t i) const noexcept {
    return array_.bytes().subspan(i * row_bytes_, row_bytes_);
  }

 private:
  Bytes array_;
  std::size_t count_ = 0;
  std::size_t row_bytes_ = 0;
};

// Shows plain bytes, read-only, in Python's terms: `shape` and `stride` must stay until the view is released, as must
// the bytes. -1 with BufferError set: it was to be writable.
int fill_with_bytes(Py_buffer* view, PyObject* owner, std::span<const std::byte> bytes, Py_ssize_t& shape,
                    Py_ssize_t& stride, int flags) noexcept;

// What getbuffer returns where it cannot: -1, with BufferError set.
int refuse_buffer(Py_buffer* view, const char* why) noexcept;

// "1 view is", "3 views are": for what is said where there must be none.
std::string count_views(std::size_t views);

// A number of bytes or elements. Throws TypeError for what is no integer, ValueError for one below 0 or beyond 2^63.
std::size_t parse_size(nb::handle number, const char* what);

// A copy, made without the GIL where it takes long. The bytes must stay meanwhile.
nb::bytes copy_bytes(std::span<const std::byte> bytes);

// `__array__`, which NumPy calls where an object shows no buffer; without one it makes an array of objects of it.
// Throws what the buffer protocol says.
nb::object array_of(nb::handle self, nb::handle dtype, nb::handle copy);

}  // namespace ipcq::python
