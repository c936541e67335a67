#include "ipcq/schema.hpp"

#include <utility>

#include "base/fnv1a.hpp"
#include "types/schema_json.hpp"
#include "types/schema_type.hpp"

namespace ipcq {

Schema::Schema(std::string text, std::shared_ptr<const detail::SchemaType> type)
    : text_(std::move(text)), type_(std::move(type)) {}

Schema Schema::parse(std::string_view text) {
  return Schema(std::string(text), std::make_shared<const detail::SchemaType>(detail::parse_schema(text)));
}

std::uint64_t Schema::id() const noexcept { return detail::fnv1a(text_); }

std::size_t Schema::bytes() const noexcept { return type_->bytes; }

std::string Schema::to_json(std::span<const std::byte> payload, std::span<const std::byte> metadata,
                            std::size_t most_elements) const {
  return detail::json_of(*type_, text_, payload, metadata, most_elements);
}

}  // namespace ipcq
