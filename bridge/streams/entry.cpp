#include "streams/entry.hpp"

#include <fmt/format.h>

#include "streams/payload_template.hpp"

namespace ipcq::bridge {

std::optional<ReplyTo> parse_reply_to(std::string_view text) {
  for (const std::string_view kind : {"stream", "list", "key", "channel"}) {
    if (!text.starts_with(kind) || text.size() <= kind.size() || text[kind.size()] != ':') continue;
    const auto key = text.substr(kind.size() + 1);
    if (key.empty()) return std::nullopt;
    return ReplyTo{.kind = std::string(kind), .key = std::string(key)};
  }
  if (text.empty()) return std::nullopt;
  return ReplyTo{.kind = "list", .key = std::string(text)};
}

std::string read_entry(ReplyView fields, std::uint32_t deliveries, const EngineSettings& settings, Task& task) {
  task.origin = task.id;
  task.attempt = deliveries + 1;
  if (fields.is_nil()) return "it was deleted from the stream";
  constexpr std::size_t kMostValues = 6000;  // what scripts can handle of an entry
  if (fields.size() > kMostValues) return fmt::format("it has more than {} fields", kMostValues / 2);
  bool has_payload = false;
  const auto value_of = [&](std::string_view wanted) -> std::optional<std::string_view> {
    for (std::size_t i = 0; i + 1 < fields.size(); i += 2) {
      if (fields[i].text() == wanted) return fields[i + 1].text();
    }
    return std::nullopt;
  };
  std::string wrong;
  for (std::size_t i = 0; i + 1 < fields.size(); i += 2) {
    const auto name = fields[i].text();
    const auto value = fields[i + 1].text();
    if (name == settings.field && settings.payload_template == nullptr) {
      task.payload = value;
      has_payload = true;
    } else if (name == "payload-key") {
      task.payload_key = value;
    } else if (name == "ipcq-id") {
      task.origin = value;
    } else if (name == "ipcq-attempt") {
      task.attempt += static_cast<std::uint32_t>(fields[i + 1].number());
    } else if (name == "reply-to") {
      if (const auto reply_to = parse_reply_to(value)) {
        task.reply_to = *reply_to;
      } else {
        wrong = fmt::format(
            "its field 'reply-to' names no key: '{}'; write KIND:NAME, where KIND is stream, list, key or channel",
            value);
      }
    }
  }
  if (!wrong.empty() || !task.payload_key.empty()) return wrong;
  if (settings.payload_template != nullptr) return settings.payload_template->make(value_of, task.payload);
  return has_payload ? "" : fmt::format("it has no field '{}'", settings.field);
}

}  // namespace ipcq::bridge
