// Arrays in messages: shape and element type travel beside the payload, or before it in a queue whose type is `tensor`
// (ipcq/tensor.hpp), and the buffer protocol shows them.
#pragma once

#include <nanobind/nanobind.h>

#include <array>
#include <cstddef>
#include <ipcq/tensor.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "buffer.hpp"

namespace ipcq::python {

// An array as the buffer protocol has it. Without dimensions of its own: the payload's bytes.
struct ArrayLayout {
  std::size_t at = 0;  // of element [0, ..., 0], from the payload's beginning
  DType dtype{DType::kUint, 8, 1};
  int ndim = 1;
  std::array<Py_ssize_t, Tensor::kMostDimensions> shape{};
  std::array<Py_ssize_t, Tensor::kMostDimensions> strides{};  // bytes

  static ArrayLayout of_bytes(std::size_t length) noexcept;
  // What a message's tensor says, if it is sound and its elements are within `length` bytes.
  static std::optional<ArrayLayout> of_tensor(const Tensor& tensor, std::size_t length) noexcept;
  // An array that is to be made, its elements one after the other. Throws ValueError (more than eight dimensions, a
  // dimension out of range).
  static ArrayLayout contiguous(DType dtype, std::span<const Py_ssize_t> shape);

  std::size_t bytes() const noexcept;  // of a contiguous one
  Tensor tensor() const noexcept;
  // The buffer protocol's name of the element type; empty: it has none (bfloat16).
  const char* format() const noexcept;
};

// Of a format of the buffer protocol ("<f4" is "f") or a name as NumPy has it ("float32"). Throws ValueError.
DType parse_format(std::string_view format);
DType parse_dtype(std::string_view name);
// Of a name, a numpy.dtype or one of NumPy's types of scalars. Throws TypeError, ValueError.
DType parse_dtype(nb::handle dtype);
std::string name_of(DType dtype);
// Of a sequence of numbers. Throws TypeError, ValueError.
std::vector<Py_ssize_t> parse_shape(nb::handle shape);
// As NumPy and the CUDA array interface name it: "<f4". Empty: they do not (bfloat16).
std::string type_string(DType dtype);

// Version 3 of the CUDA array interface. `stream`: 1 is the legacy default stream. Throws AttributeError (bfloat16).
nb::dict cuda_array_interface(const ArrayLayout& layout, const void* data, std::uintptr_t stream, bool read_only);
// As Python has it.
nb::tuple shape_of(const ArrayLayout& layout);

// An array that a caller has passed, by the buffer protocol.
class Array {
 public:
  // Throws TypeError (no buffer), ValueError (its elements have no name in DLPack).
  explicit Array(nb::handle object);
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { PyBuffer_Release(&view_); }

  DType dtype() const noexcept { return dtype_; }
  std::span<const Py_ssize_t> shape() const noexcept { return {view_.shape, static_cast<std::size_t>(view_.ndim)}; }
  // Copies its elements, one after the other, the last dimension's first. `to` has room for them. Needs the GIL.
  void copy_to(std::span<std::byte> to) const;

 private:
  Py_buffer view_{};
  DType dtype_;
};

// Fills in what a consumer of the buffer protocol has asked for. -1 with BufferError set: the layout cannot be shown
// so. `view->obj` is a new reference to `owner`. The layout must stay as it is until the view is released.
int fill_buffer(Py_buffer* view, PyObject* owner, std::byte* payload, ArrayLayout& layout, bool read_only,
                int flags) noexcept;

}  // namespace ipcq::python
