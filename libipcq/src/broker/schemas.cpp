#include "broker/schemas.hpp"

#include <algorithm>
#include <string_view>

#include "base/os.hpp"
#include "broker/stream_end.hpp"
#include "ipcq/error.hpp"
#include "ipcq/schema.hpp"

namespace ipcq::detail {
namespace {

static_assert(Schema::kMostBytes == kMostSchemaBytes);

// The claim's text for one place; what a consumer receives from a queue that makes nothing of its messages is what goes
// in.
const std::string& claimed(const QueueEntry& q, EndpointKind kind, const SchemaClaim& claim, SchemaPlace place) {
  if (q.map->has_schema_of_results()) return place == kSchemaIn ? claim.sent : claim.received;
  static const std::string kNothing;
  if (place == kSchemaOut) return kNothing;
  return kind == EndpointKind::consumer ? claim.received : claim.sent;
}

const std::string& declared(const QueueEntry& q, SchemaPlace place) {
  return place == kSchemaIn ? q.options.schema : q.options.result_schema;
}

constexpr std::uint8_t bit_of(SchemaPlace place) { return static_cast<std::uint8_t>(1U << place); }

// The field of `text` at which the two part, or what stands in its place; empty where this one has ended.
std::string_view from_difference(std::string_view text, std::string_view other) {
  constexpr std::size_t kShown = 60;
  const auto [part, there] = std::mismatch(text.begin(), text.end(), other.begin(), other.end());
  const auto at = static_cast<std::size_t>(part - text.begin());
  const std::size_t before = text.substr(0, at).find_last_of(";{");
  std::size_t begin = before == std::string_view::npos ? 0 : before + 1;
  while (begin < at && text[begin] == ' ') ++begin;
  const std::size_t end = std::min(text.find_first_of(";{}", at), begin + kShown);
  return text.substr(begin, end - begin);
}

// What the messages in that place are to the users of the queue.
const char* noun(const QueueEntry& q, SchemaPlace place) {
  if (q.map->takes_calls()) return place == kSchemaIn ? "requests" : "replies";
  return place == kSchemaIn ? "messages" : "results";
}

[[noreturn]] void refuse_claim(const QueueEntry& q, EndpointKind kind, SchemaPlace place, const std::string& theirs,
                               const std::string& why, const std::string& remedy) {
  const std::string& ours = q.schemas[place];
  throw UsageError("queue '" + q.name + "': its " + noun(q, place) + " are '" + ours + "'" + why + ", and of this " +
                   role_of(*q.map, kind) + " they are '" + theirs + "'; they part at '" +
                   std::string(from_difference(ours, theirs)) + "' and '" + std::string(from_difference(theirs, ours)) +
                   "'; build both sides from one declaration, " + remedy);
}

// A process that has an endpoint of that type open; 0: none has.
std::int32_t user_of(const QueueEntry& q, SchemaPlace place) {
  const auto uses = [&](const EndpointEntry& e) { return e.client != 0 && (e.typed & bit_of(place)) != 0; };
  const auto found = std::find_if(q.endpoints.begin(), q.endpoints.end(), uses);
  return found != q.endpoints.end() ? found->pid : 0;
}

void check_place(const QueueEntry& q, EndpointKind kind, const SchemaClaim& claim, SchemaPlace place) {
  const std::string& theirs = claimed(q, kind, claim, place);
  if (theirs.empty() || q.schemas[place].empty() || theirs == q.schemas[place]) return;
  if (!declared(q, place).empty()) {
    refuse_claim(q, kind, place, theirs, " by its creation",
                 "or remove the queue and create it with the other text (" +
                     std::string(place == kSchemaIn ? "schema)" : "result_schema)"));
  }
  if (const std::int32_t pid = user_of(q, place); pid != 0) {
    refuse_claim(q, kind, place, theirs, " to process " + std::to_string(pid),
                 "and end that process if it is the older one, or use another queue");
  }
  if (const std::uint64_t left = count_messages_in(q); left != 0) {
    const std::string by = q.map->takes_calls() ? " (a server without a schema)" : " (ipcq-consumer " + q.name + ")";
    refuse_claim(q, kind, place, theirs, ", and " + std::to_string(left) + (left == 1 ? " is left" : " are left"),
                 "and take what is left without a type" + by + ": then the queue takes the other type");
  }
}

void bind_place(QueueEntry& q, EndpointEntry& e, const SchemaClaim& claim, SchemaPlace place) {
  const std::string& theirs = claimed(q, e.kind, claim, place);
  if (theirs.empty()) return;
  e.typed = static_cast<std::uint8_t>(e.typed | bit_of(place));
  if (theirs == q.schemas[place]) return;
  e.has_bound = static_cast<std::uint8_t>(e.has_bound | bit_of(place));
  q.schemas[place] = theirs;
  q.map->set_schema(place, theirs);
}

}  // namespace

void check_schema_options(const std::string& object, const QueueOptions& o) {
  for (const std::string* const text : {&o.schema, &o.result_schema}) {
    if (text->empty()) continue;
    try {
      (void)Schema::parse(*text);
    } catch (const UsageError& e) {
      throw UsageError(object + ": " + (text == &o.schema ? "schema" : "result_schema") + ": " + e.what());
    }
  }
  if (!o.result_schema.empty() && o.handler.empty() && o.calls == 0) {
    throw UsageError(object + ": result_schema says nothing here: it is of what a handler makes, or of replies to " +
                     "calls; leave it out");
  }
}

void check_claim(const QueueEntry& q, EndpointKind kind, const SchemaClaim& claim) {
  for (const std::string* const text : {&claim.sent, &claim.received}) {
    if (!text->empty()) (void)Schema::parse(*text);
  }
  const std::string& others = kind == EndpointKind::consumer ? claim.sent : claim.received;
  if (!q.map->takes_calls() && !others.empty()) {
    throw UsageError("queue '" + q.name + "': a " + role_of(*q.map, kind) +
                     (kind == EndpointKind::consumer ? " sends nothing" : " receives nothing") +
                     ", so it claims no type of that; use one release of libipcq for client and broker");
  }
  check_place(q, kind, claim, kSchemaIn);
  check_place(q, kind, claim, kSchemaOut);
}

void unbind_claim(QueueEntry& q, const EndpointEntry& was) {
  for (const SchemaPlace place : {kSchemaIn, kSchemaOut}) {
    if ((was.has_bound & bit_of(place)) == 0 || user_of(q, place) != 0) continue;
    q.schemas[place].clear();
    q.map->set_schema(place, {});
  }
}

void bind_claim(QueueEntry& q, EndpointEntry& e, const SchemaClaim& claim) {
  bind_place(q, e, claim, kSchemaIn);
  bind_place(q, e, claim, kSchemaOut);
}

}  // namespace ipcq::detail
