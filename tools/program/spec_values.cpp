#include "program/spec_values.hpp"

#include <ipcq/error.hpp>
#include <ipcq/schema.hpp>

#include <fmt/format.h>

#include "program/size_text.hpp"

namespace ipcq::program {

namespace {
constexpr std::uint64_t kMaxDevice = 1023;
}

std::string parse_backend(std::string_view text, const std::string& what) {
  if (text == "auto" || text == "host" || text == "cuda") return std::string(text);
  throw UsageError(fmt::format("{}: '{}' is none of auto, host, cuda", what, text));
}

GroupOptions parse_group(std::string_view text, const std::string& what) {
  GroupOptions group;
  auto colon = text.find(':');
  group.name = text.substr(0, colon);
  while (colon != std::string_view::npos) {
    text.remove_prefix(colon + 1);
    colon = text.find(':');
    const auto word = text.substr(0, colon);
    if (word == "lossy") {
      group.policy = GroupPolicy::lossy;
    } else if (word == "paused") {
      group.paused = true;
    } else if (word != "must") {
      throw UsageError(
          fmt::format("{}: '{}' is no policy; write NAME, NAME:must or NAME:lossy, and :paused behind it", what, word));
    }
  }
  if (group.name.empty()) throw UsageError(fmt::format("{}: a group needs a name", what));
  return group;
}

Backpressure parse_backpressure(std::string_view text, const std::string& what) {
  if (text == "block") return Backpressure::block;
  if (text == "reject") return Backpressure::reject;
  if (text == "drop-oldest") return Backpressure::drop_oldest;
  throw UsageError(fmt::format("{}: '{}' is none of block, reject, drop-oldest", what, text));
}

Batch parse_batch(std::string_view text, const std::string& what) {
  for (const auto batch : {Batch::messages, Batch::records}) {
    if (text == to_string(batch)) return batch;
  }
  throw UsageError(fmt::format("{}: '{}' is none of messages, records", what, text));
}

std::string parse_schema(std::string_view text, const std::string& what) {
  try {
    return Schema::parse(text).text();
  } catch (const UsageError& error) {
    throw UsageError(what + ": " + error.what());
  }
}

OnServerDeath parse_on_server_death(std::string_view text, const std::string& what) {
  for (const auto choice : {OnServerDeath::fail, OnServerDeath::redeliver}) {
    if (text == to_string(choice)) return choice;
  }
  throw UsageError(fmt::format("{}: '{}' is none of fail, redeliver", what, text));
}

int parse_device(std::string_view text, const std::string& what) {
  return static_cast<int>(parse_number(text, what, 0, kMaxDevice));
}

Mirror parse_mirror(std::string_view text, const std::string& what) {
  if (text == "none") return Mirror::none;
  if (text == "full") return Mirror::full;
  throw UsageError(fmt::format("{}: '{}' is none of none, full", what, text));
}

bool parse_yes_no(std::string_view text, const std::string& what) {
  if (text == "yes") return true;
  if (text == "no") return false;
  throw UsageError(fmt::format("{}: '{}' is none of yes, no", what, text));
}

ExecutorKind parse_executor(std::string_view text, const std::string& what) {
  for (const auto kind : {ExecutorKind::auto_, ExecutorKind::persistent, ExecutorKind::stream}) {
    if (text == to_string(kind)) return kind;
  }
  throw UsageError(fmt::format("{}: '{}' is none of auto, persistent, stream", what, text));
}

}  // namespace ipcq::program
