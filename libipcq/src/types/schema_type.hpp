// What a schema's text (ipcq/schema.hpp) says, parsed: a tree of types. Immutable, so thread-safe.
//
// Invariant, which readers of payloads rely on: every field lies within its type, every type has 1 byte at least and
// 4 GiB at most, and no tree is deeper than kDeepest.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ipcq::detail {

struct SchemaField;

struct SchemaType {
  enum class Kind : std::uint8_t {
    boolean,
    character,
    integer,
    unsigned_integer,
    real,
    text,
    tensor,
    list,
    array,
    record
  };
  static constexpr unsigned kDeepest = 16;

  Kind kind = Kind::record;
  std::uint64_t bytes = 0;
  std::uint64_t alignment = 1;
  unsigned depth = 1;                         // levels, its own included
  std::uint64_t count = 0;                    // of an array's elements
  std::shared_ptr<const SchemaType> element;  // of a list or an array
  std::vector<SchemaField> fields;            // of a record
};

struct SchemaField {
  std::string name;
  std::uint64_t offset = 0;
  SchemaType type;
};

// Throws UsageError.
SchemaType parse_schema(std::string_view text);

}  // namespace ipcq::detail
