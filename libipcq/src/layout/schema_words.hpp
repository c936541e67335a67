// The schemas of a queue (ipcq/schema.hpp), as its segment has them: what goes in, and what comes out where a handler
// or a server makes something else of it.
//
//   id 0: any ---------- the broker: text, then id ---------> id: hash of the text
//                <---------------- id 0 -------------------   before the text of another
//
// The broker alone writes them. A reader copies the text and takes it for the schema if its hash is the id that it had
// read before: so a text that changes under it, or that somebody else has written over, is none.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layout/layout.hpp"

namespace ipcq::detail {

enum SchemaPlace : unsigned { kSchemaIn = 0, kSchemaOut = 1 };
inline constexpr unsigned kSchemas = 2;
inline constexpr std::uint32_t kMostSchemaBytes = 4080;

struct SchemaWords {
  Word id;
  Word length;
  Word text[kMostSchemaBytes / sizeof(Word)];  // eight characters each, the first in the lowest byte
};
static_assert(sizeof(SchemaWords) == 4096);
static_assert(offsetof(SchemaWords, id) == 0 && offsetof(SchemaWords, length) == 8 &&
              offsetof(SchemaWords, text) == 16);

}  // namespace ipcq::detail
