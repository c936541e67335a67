// A message as JSON, by its schema: Schema::to_json(). A pure function.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "types/schema_type.hpp"

namespace ipcq::detail {

// `text`: of the schema, for errors. Throws UsageError: the message is no value of that type. Reads nothing beyond the
// payload and the metadata, whatever these say, and even if others change them meanwhile.
std::string json_of(const SchemaType& type, const std::string& text, std::span<const std::byte> payload,
                    std::span<const std::byte> metadata, std::size_t most_elements);

}  // namespace ipcq::detail
