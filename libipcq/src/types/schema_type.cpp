#include "types/schema_type.hpp"

#include <algorithm>
#include <utility>

#include "base/os.hpp"
#include "ipcq/error.hpp"
#include "ipcq/schema.hpp"
#include "layout/limits.hpp"

namespace ipcq::detail {
namespace {

using Kind = SchemaType::Kind;

struct Basic {
  std::string_view name;
  Kind kind;
  std::uint64_t bytes;
  std::uint64_t alignment;
};
constexpr Basic kBasics[] = {
    {"bool", Kind::boolean, 1, 1},
    {"char", Kind::character, 1, 1},
    {"i8", Kind::integer, 1, 1},
    {"i16", Kind::integer, 2, 2},
    {"i32", Kind::integer, 4, 4},
    {"i64", Kind::integer, 8, 8},
    {"u8", Kind::unsigned_integer, 1, 1},
    {"u16", Kind::unsigned_integer, 2, 2},
    {"u32", Kind::unsigned_integer, 4, 4},
    {"u64", Kind::unsigned_integer, 8, 8},
    {"f32", Kind::real, 4, 4},
    {"f64", Kind::real, 8, 8},
    {"text", Kind::text, sizeof(Text), alignof(Text)},
    {"tensor", Kind::tensor, sizeof(Tensor), alignof(Tensor)},
};

// Reads each character once, so that a text is read in one way only.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  SchemaType all() {
    if (text_.size() > Schema::kMostBytes) {
      throw UsageError("schema of " + std::to_string(text_.size()) + " bytes: there may be " +
                       std::to_string(Schema::kMostBytes) + "; give types and fields shorter names, or split the type");
    }
    SchemaType parsed = type(1);
    if (at_ != text_.size()) fail("nothing more");
    return parsed;
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const {
    constexpr std::size_t kShown = 24;
    const std::string_view rest = text_.substr(at_, kShown);
    throw UsageError("schema '" + printable(std::string(text_)) + "': at character " + std::to_string(at_ + 1) +
                     " stands " + (rest.empty() ? "its end" : "'" + printable(std::string(rest)) + "'") +
                     ", where there should be " + expected +
                     "; ipcq::schema_text() has the text of a type, and ipcq/schema.hpp the grammar");
  }

  bool take(std::string_view what) {
    if (text_.substr(at_, what.size()) != what) return false;
    at_ += what.size();
    return true;
  }
  void expect(std::string_view what) {
    if (!take(what)) fail("'" + std::string(what) + "'");
  }
  std::string_view name() {
    const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    std::size_t end = at_;
    while (end < text_.size() && (is_letter(text_[end]) || (end > at_ && text_[end] >= '0' && text_[end] <= '9')))
      ++end;
    if (end == at_) fail("a name");
    return text_.substr(std::exchange(at_, end), end - at_);
  }
  std::uint64_t number() {
    std::uint64_t value = 0;
    const std::size_t begin = at_;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (at_ != begin && value == 0) break;  // a leading zero
      value = value * 10 + static_cast<std::uint64_t>(text_[at_] - '0');
      if (value > kMaxSlotBytes) fail("a number of at most " + std::to_string(kMaxSlotBytes));
    }
    if (at_ == begin) fail("a number");
    return value;
  }

  SchemaType type(unsigned depth) {
    if (depth > SchemaType::kDeepest) fail("no further level: " + std::to_string(SchemaType::kDeepest) + " are read");
    SchemaType parsed = without_extents(depth);
    std::vector<std::uint64_t> extents;
    while (take("[")) {
      extents.push_back(number());
      if (extents.back() == 0) fail("an extent of 1 or more");
      expect("]");
      if (extents.size() > SchemaType::kDeepest) fail("fewer extents");
    }
    for (std::size_t i = extents.size(); i-- != 0;) {
      if (parsed.bytes > kMaxSlotBytes / extents[i]) fail("a type of less than 4 GiB");
      SchemaType array;
      array.kind = Kind::array;
      array.count = extents[i];
      array.bytes = parsed.bytes * extents[i];
      array.alignment = parsed.alignment;
      array.depth = parsed.depth + 1;
      if (array.depth > SchemaType::kDeepest) fail("fewer extents");
      array.element = std::make_shared<const SchemaType>(std::move(parsed));
      parsed = std::move(array);
    }
    return parsed;
  }

  SchemaType without_extents(unsigned depth) {
    SchemaType parsed;
    if (take("list<")) {
      parsed.kind = Kind::list;
      parsed.bytes = sizeof(List<char>);
      parsed.alignment = alignof(List<char>);
      parsed.element = std::make_shared<const SchemaType>(type(depth + 1));
      parsed.depth = parsed.element->depth + 1;
      expect(">");
      if (parsed.depth > SchemaType::kDeepest) fail("fewer levels in it");
      return parsed;
    }
    const std::string_view word = name();
    if (take("{")) return record(depth);
    const auto* const basic =
        std::find_if(std::begin(kBasics), std::end(kBasics), [&](const Basic& b) { return b.name == word; });
    if (basic == std::end(kBasics)) {
      at_ -= word.size();
      fail("a type");
    }
    parsed.kind = basic->kind;
    parsed.bytes = basic->bytes;
    parsed.alignment = basic->alignment;
    return parsed;
  }

  // Behind its '{'.
  SchemaType record(unsigned depth) {
    SchemaType parsed;
    std::uint64_t end = 0;
    do {
      SchemaField field;
      const std::size_t begin = at_;
      field.name = name();
      if (std::any_of(parsed.fields.begin(), parsed.fields.end(),
                      [&](const auto& f) { return f.name == field.name; })) {
        at_ = begin;
        fail("a name that no field before it has");
      }
      expect(" ");
      field.type = type(depth + 1);
      expect(" @");
      const std::size_t place = at_;
      field.offset = number();
      if (field.offset < end || field.offset % field.type.alignment != 0) {
        at_ = place;
        fail(
            "an offset behind the fields before it (IPCQ_SCHEMA names them in the order of their declaration), and at "
            "a multiple of " +
            std::to_string(field.type.alignment));
      }
      end = field.offset + field.type.bytes;
      parsed.alignment = std::max(parsed.alignment, field.type.alignment);
      parsed.depth = std::max(parsed.depth, field.type.depth + 1);
      parsed.fields.push_back(std::move(field));
    } while (take("; "));
    expect("}");
    if (parsed.depth > SchemaType::kDeepest) fail("fewer levels in it");
    const std::size_t place = at_;
    parsed.bytes = number();
    if (parsed.bytes < end || parsed.bytes % parsed.alignment != 0) {
      at_ = place;
      fail("a size of at least " + std::to_string(end) + ", and a multiple of " + std::to_string(parsed.alignment));
    }
    return parsed;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

SchemaType parse_schema(std::string_view text) { return Parser(text).all(); }

}  // namespace ipcq::detail
