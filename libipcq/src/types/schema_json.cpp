#include "types/schema_json.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "ipcq/error.hpp"
#include "ipcq/schema.hpp"

namespace ipcq::detail {
namespace {

using Kind = SchemaType::Kind;
using Bytes = std::span<const std::byte>;

template <class T>
T load(Bytes from) {
  T value;
  std::memcpy(&value, from.data(), sizeof value);
  return value;
}

// The length of the UTF-8 character at the beginning of the text; 0: it is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t length = first < 0x80                    ? 1
                             : first >= 0xc2 && first < 0xe0 ? 2
                             : first >= 0xe0 && first < 0xf0 ? 3
                             : first >= 0xf0 && first < 0xf5 ? 4
                                                             : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool too_short = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool no_character = (first == 0xed && byte(1) >= 0xa0) || (first == 0xf4 && byte(1) >= 0x90);
  return too_short || no_character ? 0 : length;
}

// As kRefersElsewhere.
bool refers_elsewhere(const SchemaType& type) {
  if (type.kind == Kind::text || type.kind == Kind::tensor || type.kind == Kind::list) return true;
  if (type.kind == Kind::array) return refers_elsewhere(*type.element);
  return std::any_of(type.fields.begin(), type.fields.end(),
                     [](const SchemaField& field) { return refers_elsewhere(field.type); });
}

class JsonOfMessage {
 public:
  JsonOfMessage(Bytes payload, std::size_t most_elements) : payload_(payload), most_elements_(most_elements) {}

  // `at`: the value's own bytes.
  void add(const SchemaType& type, Bytes at) {
    if (is_spent()) {
      json_ += "\"...\"";
      return;
    }
    ++values_;
    switch (type.kind) {
      case Kind::boolean:
        return add_boolean(at);
      case Kind::character:
        return add_string(std::string(1, load<char>(at)));
      case Kind::integer:
        return add_integer<std::int8_t, std::int16_t, std::int32_t, std::int64_t>(type.bytes, at);
      case Kind::unsigned_integer:
        return add_integer<std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t>(type.bytes, at);
      case Kind::real:
        return type.bytes == sizeof(float) ? add_real(load<float>(at)) : add_real(load<double>(at));
      case Kind::text:
        return add_text(load<Text>(at));
      case Kind::tensor:
        return add_tensor(load<Tensor>(at));
      case Kind::list:
        return add_list(type, load<List<char>>(at));
      case Kind::array:
        return add_array(type, at);
      case Kind::record:
        return add_record(type, at);
    }
  }
  std::string take() { return std::move(json_); }

 private:
  static constexpr std::size_t kMostValues = 100'000;
  static constexpr std::size_t kMostTextBytes = 1 << 20;
  static constexpr std::size_t kMostJsonBytes = 16 << 20;
  [[noreturn]] static void fail(const char* why) { throw UsageError(why); }

  // Lists may name the same elements over and over: what is printed has an end.
  bool is_spent() const { return values_ >= kMostValues || json_.size() >= kMostJsonBytes; }

  void add_boolean(Bytes at) {
    const auto value = load<std::uint8_t>(at);
    if (value > 1) fail("a bool of it is neither false nor true");
    json_ += value != 0 ? "true" : "false";
  }
  template <class One, class Two, class Four, class Eight>
  void add_integer(std::uint64_t bytes, Bytes at) {
    bytes == 1   ? add_number(load<One>(at))
    : bytes == 2 ? add_number(load<Two>(at))
    : bytes == 4 ? add_number(load<Four>(at))
                 : add_number(load<Eight>(at));
  }
  template <class Number>
  void add_number(Number value) {
    std::array<char, 40> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    json_.append(digits.data(), end);
  }
  template <class Real>
  void add_real(Real value) {
    if (std::isfinite(value)) return add_number(value);
    add_string(std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
  }
  // Bytes that are no UTF-8 become U+FFFD.
  void add_string(std::string_view text) {
    json_ += '"';
    while (!text.empty()) {
      const std::size_t length = utf8_length(text);
      const char c = text[0];
      if (length == 0) {
        json_ += "\\ufffd";
      } else if (c == '"' || c == '\\') {
        json_ += '\\';
        json_ += c;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        constexpr char kDigits[] = "0123456789abcdef";
        json_ += "\\u00";
        json_ += kDigits[c >> 4];
        json_ += kDigits[c & 15];
      } else {
        json_ += text.substr(0, length);
      }
      text.remove_prefix(length == 0 ? 1 : length);
    }
    json_ += '"';
  }
  void add_text(Text text) {
    if (!fits_in(text.at, text.length, 1, 1, payload_.size())) fail("a text of it reaches beyond the payload");
    if (text.length == 0) return add_string({});
    // A private copy: others may change it while it is looked at.
    const std::size_t shown = std::min<std::size_t>(text.length, kMostTextBytes);
    std::string copy(reinterpret_cast<const char*>(payload_.data()) + text.at, shown);
    if (shown != text.length) copy += "... and " + std::to_string(text.length - shown) + " more";
    add_string(copy);
  }
  // Elements as long as they are printed; what is left out is counted.
  template <class Add>
  void add_elements(std::uint64_t count_of, Add add_one) {
    json_ += '[';
    std::uint64_t i = 0;
    for (; i < count_of && i < most_elements_ && !is_spent(); ++i) {
      if (i != 0) json_ += ',';
      add_one(i);
    }
    if (i < count_of) json_ += (i != 0 ? ",\"... and " : "\"... and ") + std::to_string(count_of - i) + " more\"";
    json_ += ']';
  }
  void add_list(const SchemaType& type, List<char> list) {
    const SchemaType& element = *type.element;
    if (!fits_in(list.at, list.count, element.bytes, element.alignment, payload_.size())) {
      fail("a list of it reaches beyond the payload");
    }
    add_elements(list.count, [&](std::uint64_t i) { add(element, payload_.subspan(list.at + i * element.bytes)); });
  }
  void add_array(const SchemaType& type, Bytes at) {
    if (type.element->kind == Kind::character) {
      const std::string copy(reinterpret_cast<const char*>(at.data()),
                             std::min(type.count, std::uint64_t{kMostTextBytes}));
      return add_string(std::string_view(copy).substr(0, copy.find('\0')));
    }
    add_elements(type.count, [&](std::uint64_t i) { add(*type.element, at.subspan(i * type.element->bytes)); });
  }
  void add_record(const SchemaType& type, Bytes at) {
    json_ += '{';
    for (const SchemaField& field : type.fields) {
      if (&field != &type.fields.front()) json_ += ',';
      json_ += '"' + field.name + "\":";
      add(field.type, at.subspan(field.offset));
    }
    json_ += '}';
  }

  static std::string dtype_text(DType dtype) {
    const char* const name = dtype.code == DType::kInt       ? "i"
                             : dtype.code == DType::kUint    ? "u"
                             : dtype.code == DType::kFloat   ? "f"
                             : dtype.code == DType::kBfloat  ? "bf"
                             : dtype.code == DType::kComplex ? "c"
                             : dtype.code == DType::kBool    ? "bool"
                                                             : nullptr;
    std::string text = name != nullptr ? name : "code" + std::to_string(dtype.code) + "_";
    if (dtype.code != DType::kBool || dtype.bits != 8) text += std::to_string(dtype.bits);
    if (dtype.lanes != 1) text += 'x' + std::to_string(dtype.lanes);
    return text;
  }
  void add_tensor(const Tensor& tensor) {
    if (is_none(tensor)) {
      json_ += "null";
      return;
    }
    if (!fits_in(tensor, payload_.size())) fail("a tensor of it reaches beyond the payload");
    const auto add_each = [&](const char* name, const auto& of_dimension) {
      json_ += std::string(",\"") + name + "\":[";
      for (std::uint32_t d = 0; d < tensor.dimensions; ++d) {
        json_ += (d != 0 ? "," : "") + std::to_string(of_dimension[d]);
      }
      json_ += ']';
    };
    json_ += "{\"dtype\":\"" + dtype_text(tensor.dtype) + '"';
    add_each("shape", tensor.shape);
    add_each("strides", tensor.strides);
    json_ += ",\"elements\":";
    const SchemaType element = element_of(tensor.dtype);
    add_elements(TensorView(tensor, payload_.data() + tensor.at).size(), [&](std::uint64_t i) {
      std::int64_t steps = 0;
      for (std::uint32_t d = tensor.dimensions; d-- != 0; i /= tensor.shape[d]) {
        steps += static_cast<std::int64_t>(i % tensor.shape[d]) * tensor.strides[d];
      }
      const auto at = static_cast<std::int64_t>(tensor.at) + steps * static_cast<std::int64_t>(tensor.dtype.bytes());
      add(element, payload_.subspan(static_cast<std::uint64_t>(at)));
    });
    json_ += '}';
  }
  // Elements of other kinds are shown as the bytes that they are.
  static SchemaType element_of(DType dtype) {
    SchemaType type;
    type.bytes = dtype.bits / 8U;
    const bool has_width = dtype.bits == 8 || dtype.bits == 16 || dtype.bits == 32 || dtype.bits == 64;
    if (dtype.lanes == 1 && has_width) {
      if (dtype.code == DType::kInt) return type.kind = Kind::integer, type;
      if (dtype.code == DType::kUint) return type.kind = Kind::unsigned_integer, type;
      if (dtype.code == DType::kBool && dtype.bits == 8) return type.kind = Kind::unsigned_integer, type;
      if (dtype.code == DType::kFloat && dtype.bits >= 32) return type.kind = Kind::real, type;
    }
    SchemaType byte;
    byte.kind = Kind::unsigned_integer;
    byte.bytes = 1;
    type.kind = Kind::array;
    type.bytes = dtype.bytes();
    type.count = dtype.bytes();
    type.element = std::make_shared<const SchemaType>(std::move(byte));
    return type;
  }

  Bytes payload_;
  std::size_t most_elements_;
  std::size_t values_ = 0;
  std::string json_;
};

}  // namespace

std::string json_of(const SchemaType& type, const std::string& text, Bytes payload, Bytes metadata,
                    std::size_t most_elements) {
  const Bytes value = metadata.size() == type.bytes ? metadata : payload;
  try {
    const bool is_all = value.data() != metadata.data() && !refers_elsewhere(type);
    if (value.size() < type.bytes || (is_all && value.size() != type.bytes)) {
      throw UsageError("a value has " + std::to_string(type.bytes));
    }
    JsonOfMessage json(payload, most_elements);
    json.add(type, value);
    return json.take();
  } catch (const UsageError& e) {
    throw UsageError("message of " + std::to_string(payload.size()) + " bytes" +
                     (metadata.empty() ? "" : " and " + std::to_string(metadata.size()) + " of metadata") +
                     ": no value of schema '" + text + "': " + e.what() + "; read it as raw bytes");
  }
}

}  // namespace ipcq::detail
