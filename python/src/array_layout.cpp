#include "array_layout.hpp"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <cstring>

#include "interpreter.hpp"

namespace ipcq::python {
namespace {

struct Kind {
  DType dtype;
  const char* name;
  const char* format;
};
constexpr std::array<Kind, 15> kKinds = {{
    {{DType::kBool, 8, 1}, "bool", "?"},
    {{DType::kInt, 8, 1}, "int8", "b"},
    {{DType::kInt, 16, 1}, "int16", "h"},
    {{DType::kInt, 32, 1}, "int32", "i"},
    {{DType::kInt, 64, 1}, "int64", "q"},
    {{DType::kUint, 8, 1}, "uint8", "B"},
    {{DType::kUint, 16, 1}, "uint16", "H"},
    {{DType::kUint, 32, 1}, "uint32", "I"},
    {{DType::kUint, 64, 1}, "uint64", "Q"},
    {{DType::kFloat, 16, 1}, "float16", "e"},
    {{DType::kFloat, 32, 1}, "float32", "f"},
    {{DType::kFloat, 64, 1}, "float64", "d"},
    {{DType::kBfloat, 16, 1}, "bfloat16", ""},
    {{DType::kComplex, 64, 1}, "complex64", "Zf"},
    {{DType::kComplex, 128, 1}, "complex128", "Zd"},
}};

const Kind* kind_of(DType dtype) noexcept {
  const auto* const found = std::find_if(kKinds.begin(), kKinds.end(), [&](const Kind& k) { return k.dtype == dtype; });
  return found == kKinds.end() ? nullptr : found;
}

}  // namespace

ArrayLayout ArrayLayout::of_bytes(std::size_t length) noexcept {
  ArrayLayout layout;
  layout.shape[0] = static_cast<Py_ssize_t>(length);
  layout.strides[0] = 1;
  return layout;
}

std::optional<ArrayLayout> ArrayLayout::of_tensor(const Tensor& tensor, std::size_t length) noexcept {
  if (tensor.reserved[0] != 0 || tensor.reserved[1] != 0 || kind_of(tensor.dtype) == nullptr) return {};
  if (!ipcq::detail::fits_in(tensor, length)) return {};
  ArrayLayout layout;
  auto total = static_cast<Py_ssize_t>(tensor.dtype.bytes());  // one that shows elements over and over has no limit
  bool has_none = false;
  layout.at = tensor.at;
  layout.dtype = tensor.dtype;
  layout.ndim = static_cast<int>(tensor.dimensions);
  for (std::uint32_t d = 0; d < tensor.dimensions; ++d) {
    layout.shape[d] = tensor.shape[d];
    if (__builtin_mul_overflow(total, std::max(layout.shape[d], Py_ssize_t{1}), &total)) return {};
    has_none = has_none || tensor.shape[d] == 0;
  }
  // Strides that nothing is read by may be anything.
  for (std::uint32_t d = 0; d < tensor.dimensions; ++d) {
    const bool is_used = !has_none && tensor.shape[d] > 1;
    layout.strides[d] = (is_used ? tensor.strides[d] : 1) * static_cast<Py_ssize_t>(tensor.dtype.bytes());
  }
  return layout;
}

ArrayLayout ArrayLayout::contiguous(DType dtype, std::span<const Py_ssize_t> shape) {
  if (shape.size() > Tensor::kMostDimensions) throw nb::value_error("an array in a message has 8 dimensions at most");
  ArrayLayout layout;
  layout.dtype = dtype;
  layout.ndim = static_cast<int>(shape.size());
  Py_ssize_t step = static_cast<Py_ssize_t>(dtype.bytes());
  for (std::size_t d = shape.size(); d-- != 0;) {
    if (shape[d] < 0 || shape[d] > Py_ssize_t{0xffffffff})
      throw nb::value_error("a dimension has from 0 to 2^32 - 1 elements");
    layout.shape[d] = shape[d];
    layout.strides[d] = step;
    if (__builtin_mul_overflow(step, std::max(shape[d], Py_ssize_t{1}), &step))
      throw nb::value_error("the array is too large");
  }
  return layout;
}

std::size_t ArrayLayout::bytes() const noexcept {
  std::size_t bytes = dtype.bytes();
  for (int d = 0; d < ndim; ++d) bytes *= static_cast<std::size_t>(shape[static_cast<std::size_t>(d)]);
  return bytes;
}

Tensor ArrayLayout::tensor() const noexcept {
  Tensor tensor;
  tensor.dtype = dtype;
  tensor.dimensions = static_cast<std::uint32_t>(ndim);
  tensor.at = at;
  for (std::size_t d = 0; d < static_cast<std::size_t>(ndim); ++d) {
    tensor.shape[d] = static_cast<std::uint32_t>(shape[d]);
    tensor.strides[d] = strides[d] / static_cast<Py_ssize_t>(dtype.bytes());
  }
  return tensor;
}

const char* ArrayLayout::format() const noexcept { return kind_of(dtype)->format; }

DType parse_format(std::string_view format) {
  const std::string_view whole = format;
  if (!format.empty() && (format.front() == '@' || format.front() == '=' || format.front() == '<'))
    format.remove_prefix(1);
  if (format == "l") format = "q";  // as it is on these machines
  if (format == "L") format = "Q";
  if (format == "c" || format.empty()) format = "B";
  for (const Kind& kind : kKinds) {
    if (*kind.format != '\0' && format == kind.format) return kind.dtype;
  }
  throw nb::value_error(("elements of the format '" + std::string(whole) +
                         "' cannot be sent as an array: choose bool, an integer, a float or a complex type, in the "
                         "machine's byte order, or send its bytes by send() and read them by numpy.frombuffer()")
                            .c_str());
}

DType parse_dtype(std::string_view name) {
  for (const Kind& kind : kKinds) {
    if (name == kind.name) return kind.dtype;
  }
  std::string known;
  for (const Kind& kind : kKinds) known += (known.empty() ? "" : ", ") + std::string(kind.name);
  throw nb::value_error(
      ("'" + std::string(name) + "' is no element type of arrays in messages: choose one of " + known).c_str());
}

DType parse_dtype(nb::handle dtype) {
  if (nb::isinstance<nb::str>(dtype)) {
    const auto name = nb::cast<std::string>(dtype);
    return parse_dtype(std::string_view(name));
  }
  if (nb::hasattr(dtype, "isnative") && !nb::cast<bool>(dtype.attr("isnative")))
    throw nb::value_error("dtype: elements in the machine's byte order are expected");
  for (const char* attribute : {"name", "__name__"}) {
    if (!nb::hasattr(dtype, attribute)) continue;
    if (const nb::object name = dtype.attr(attribute); nb::isinstance<nb::str>(name)) return parse_dtype(name);
  }
  throw nb::type_error("dtype: a name such as 'float32', a numpy.dtype or a type of NumPy's is expected");
}

std::string name_of(DType dtype) {
  const Kind* const kind = kind_of(dtype);
  return kind != nullptr ? kind->name : "";
}

Array::Array(nb::handle object) {
  if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_FULL_RO) != 0) throw nb::python_error();
  try {
    dtype_ = parse_format(view_.format != nullptr ? view_.format : "B");
    if (view_.itemsize != static_cast<Py_ssize_t>(dtype_.bytes()))
      throw nb::value_error("the array's elements have another size than their format says");
  } catch (...) {
    PyBuffer_Release(&view_);
    throw;
  }
}

void Array::copy_to(std::span<std::byte> to) const {
  if (PyBuffer_IsContiguous(&view_, 'C') != 0) {
    const ReleasedGil released;
    std::memcpy(to.data(), view_.buf, static_cast<std::size_t>(view_.len));
  } else if (PyBuffer_ToContiguous(to.data(), &view_, view_.len, 'C') != 0) {
    throw nb::python_error();
  }
}

std::vector<Py_ssize_t> parse_shape(nb::handle shape) {
  std::vector<Py_ssize_t> extents;
  for (const nb::handle extent : nb::iter(shape))
    extents.push_back(static_cast<Py_ssize_t>(parse_size(extent, "shape")));
  return extents;
}

std::string type_string(DType dtype) {
  const char kind = dtype.code == DType::kBool      ? 'b'
                    : dtype.code == DType::kInt     ? 'i'
                    : dtype.code == DType::kUint    ? 'u'
                    : dtype.code == DType::kFloat   ? 'f'
                    : dtype.code == DType::kComplex ? 'c'
                                                    : '\0';
  if (kind == '\0') return {};
  std::string text(1, dtype.bits == 8 ? '|' : '<');
  text += kind;
  text += std::to_string(dtype.bits / 8);
  return text;
}

nb::tuple shape_of(const ArrayLayout& layout) {
  nb::list shape;
  for (std::size_t d = 0; d < static_cast<std::size_t>(layout.ndim); ++d) shape.append(layout.shape[d]);
  return nb::tuple(shape);
}

nb::dict cuda_array_interface(const ArrayLayout& layout, const void* data, std::uintptr_t stream, bool read_only) {
  const std::string kind = type_string(layout.dtype);
  if (kind.empty()) throw nb::attribute_error("the CUDA array interface does not know bfloat16: use DLPack");
  nb::list strides;
  for (std::size_t d = 0; d < static_cast<std::size_t>(layout.ndim); ++d) strides.append(layout.strides[d]);
  nb::dict interface;
  interface["version"] = 3;
  interface["typestr"] = nb::str(kind.c_str());
  interface["shape"] = shape_of(layout);
  interface["strides"] = nb::tuple(strides);
  interface["data"] = nb::make_tuple(reinterpret_cast<std::uintptr_t>(data) + layout.at, read_only);
  interface["stream"] = stream;
  return interface;
}

int fill_buffer(Py_buffer* view, PyObject* owner, std::byte* payload, ArrayLayout& layout, bool read_only,
                int flags) noexcept {
  if (read_only && (flags & PyBUF_WRITABLE) != 0)
    return refuse_buffer(view, "a received message is read-only: make a copy of it");
  const char* const format = layout.format();
  if (*format == '\0')
    return refuse_buffer(view,
                         "the buffer protocol does not know bfloat16: use torch.from_dlpack(), or bytes(message)");
  const auto item = static_cast<Py_ssize_t>(layout.dtype.bytes());
  bool contiguous = true;
  Py_ssize_t step = item;
  for (std::size_t d = static_cast<std::size_t>(layout.ndim); d-- != 0;) {
    if (layout.shape[d] > 1 && layout.strides[d] != step) contiguous = false;
    step *= layout.shape[d];
  }
  const bool wants_order = (flags & (PyBUF_C_CONTIGUOUS | PyBUF_ANY_CONTIGUOUS) & ~PyBUF_STRIDES) != 0;
  if ((flags & PyBUF_F_CONTIGUOUS & ~PyBUF_STRIDES) != 0 && layout.ndim > 1)
    return refuse_buffer(view, "the last dimension's elements lie one after the other, not the first's");
  if (!contiguous && (wants_order || (flags & PyBUF_STRIDES) != PyBUF_STRIDES))
    return refuse_buffer(view, "the elements do not lie one after the other: view the message by numpy.asarray()");
  view->buf = payload + layout.at;
  view->len = step;
  view->itemsize = item;
  view->readonly = read_only ? 1 : 0;
  view->format = (flags & PyBUF_FORMAT) != 0 ? const_cast<char*>(format) : nullptr;
  const bool shaped = (flags & PyBUF_ND) != 0;
  view->ndim = shaped ? layout.ndim : 1;
  view->shape = shaped ? layout.shape.data() : nullptr;
  view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? layout.strides.data() : nullptr;
  view->suboffsets = nullptr;
  view->internal = nullptr;
  Py_INCREF(owner);
  view->obj = owner;
  return 0;
}

}  // namespace ipcq::python
