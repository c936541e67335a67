#include "options.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <ipcq/error.hpp>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "config_file.hpp"
#include "program/attach.hpp"
#include "program/command_line.hpp"
#include "program/nearest.hpp"
#include "program/size_text.hpp"
#include "streams/payload_template.hpp"

namespace ipcq::bridge {
namespace {

using program::CommandLine;

Milliseconds to_ms(double seconds) { return Milliseconds(std::llround(std::min(seconds, 1e12) * 1000)); }

// Unlike that of any other bridge: what has this name in the group is this process' own.
std::string own_name() {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return fmt::format("{}-{}-{:08x}", host[0] != '\0' ? host.data() : "host", getpid(), std::random_device{}());
}

void describe_sources(CommandLine& line, Options& o) {
  add(line, "queue", o.queue, "Queue of calls that works on the tasks").required().check(program::object_name());
  add(line, "stream", o.streams,
      "NAME[,priority=N][,weight=N]: stream that tasks come from; may be repeated [the queue's name]")
      .one_value_each()
      .check(program::not_empty());
  add(line, "list", o.lists,
      "NAME[,from=left|right][,priority=N][,weight=N]: or a list that tasks come from; may be repeated")
      .one_value_each()
      .check(program::not_empty());
  add(line, "sorted-set", o.sorted_sets,
      "NAME[,take=least|due][,...]: or a sorted set: least score first, or each when its score, a time in ms, has come")
      .one_value_each()
      .check(program::not_empty());
  describe_server(line, o.server);
  add(line, "group", o.group, "Consumer group, which all bridges share").check(program::not_empty()).show_default();
  add(line, "consumer", o.consumer, "This bridge's name in the group, unlike any other's [of host and process]")
      .check(program::not_empty());
  add(line, "results", o.results,
      "stream:NAME, list:NAME, channel:NAME, key:PREFIX or none: where results go [NAME:results, by the first "
      "source's name: a stream, of lists and sorted sets a list]")
      .check(program::not_empty());
}

void describe_tasks(CommandLine& line, Options& o) {
  add(line, "field", o.field, "Field of an entry that holds the payload").check(program::not_empty()).show_default();
  add(line, "template", o.payload_template,
      "Make the payload of several fields: text with {NAME}, or {NAME:TYPE} for a number in binary, such as "
      "{x:f32}{y:f32}")
      .check(program::not_empty());
  add(line, "inline-result", o.inline_result, "Largest result in an entry of a stream; larger ones go to keys")
      .show_default();
  add(line, "in-flight", o.in_flight, "Tasks in the queue at once [what it takes: its calls]")
      .transform(program::whole_number(1));
  add(line, "batch", o.batch, "Tasks read, and results written, at once at most")
      .transform(program::whole_number(1, 1024))
      .show_default();
  add(line, "deadline", o.deadline, "Seconds that a task may take in the queue [any time]")
      .transform(program::positive());
  add(line, "reply-bytes", o.reply_bytes,
      "Longest result, such as 4KiB [with a handler the request's room, else a slot]");
  add(line, "attempts", o.attempts, "How often a task is tried before it goes to the dead letters")
      .transform(program::whole_number(1, 1'000'000))
      .show_default();
  add(line, "backoff", o.backoff, "Seconds before the second attempt; twice as long before each next one")
      .transform(program::not_negative())
      .show_default();
  add(line, "longest-backoff", o.longest_backoff, "Seconds before an attempt at most")
      .transform(program::not_negative())
      .show_default();
  add(line, "claim-after", o.claim_after, "Seconds after which others take over what a bridge does not renew")
      .transform(program::positive())
      .show_default();
  add(line, "poll", o.poll, "Seconds between looks for delayed tasks").transform(program::positive()).show_default();
  add(line, "rate", o.rate, "Tasks a second that all bridges of the first stream read together at most [any]")
      .transform(program::positive());
  add(line, "burst", o.burst, "Tasks that --rate lets pass at once [a second's]").transform(program::whole_number(1));
  add(line, "result-ttl", o.stay, "Seconds that results in keys, and replies in lists and keys, stay")
      .transform(program::positive())
      .show_default();
  flag(line, "trim", o.trim, "Delete entries that every group of the stream has acknowledged");
  add(line, "keep", o.keep, "Seconds that --trim leaves entries in the stream").transform(program::not_negative());
}

}  // namespace

void describe(CommandLine& line, Options& o) {
  describe_sources(line, o);
  describe_tasks(line, o);
  add(line, "metrics", o.metrics, "HOST:PORT, or :PORT of 127.0.0.1, to serve counters for Prometheus on")
      .check(program::not_empty());
  add(line, "drain-for", o.drain_for, "Seconds that a stop waits at most for what runs [as long as it takes]")
      .transform(program::not_negative());
  flag(line, "until-empty", o.until_empty, "End when no task is left, delayed ones included");
  program::add_broker_option(line, o.broker);
  add(line, "wait", o.wait, "How to wait for the queue: spin, hybrid or sleep").show_default();
  add(line, "wait-for", o.wait_for, "Seconds to wait for server, broker and queue at the start")
      .transform(program::not_negative())
      .show_default();
  add(line, "config", o.config, "TOML file of options [$XDG_CONFIG_HOME/ipcq/redis.toml, then /etc/ipcq/redis.toml]")
      .check(program::not_empty());
  flag(line, "json", o.json, "Summary as one JSON object on stdout at the end");
}

namespace {

// A key that is misspelt, or another kind's, would be a part of the name, of which no task ever comes.
void refuse_key(std::string_view text, const std::string& what, Kind kind) {
  const auto comma = text.rfind(',');
  if (comma == std::string_view::npos) return;
  const auto option = text.substr(comma + 1);
  const auto equals = option.find('=');
  if (equals == std::string_view::npos) return;
  std::string key(option.substr(0, equals));
  std::erase(key, ' ');
  std::transform(key.begin(), key.end(), key.begin(), [](unsigned char c) { return std::tolower(c); });
  const std::vector<std::string> keys{"priority", "weight", "from", "take"};
  const bool begins = key.size() >= 3 && std::any_of(keys.begin(), keys.end(),
                                                     [&](const std::string& each) { return each.starts_with(key); });
  if (!begins && !program::nearest(key, keys)) return;
  throw UsageError(
      fmt::format("{} {}: no key '{}'; behind the name may stand ,priority=N ,weight=N{}", what, text, key,
                  kind == Kind::stream ? "" : (kind == Kind::list ? " ,from=left|right" : " ,take=least|due")));
}

}  // namespace

Source parse_source(std::string_view text, Kind kind) {
  const std::string what = kind == Kind::stream ? "--stream" : (kind == Kind::list ? "--list" : "--sorted-set");
  const std::string_view end = kind == Kind::list ? "from=" : "take=";
  const std::array<std::string_view, 2> ends = kind == Kind::list ? std::array<std::string_view, 2>{"left", "right"}
                                                                  : std::array<std::string_view, 2>{"least", "due"};
  Source source;
  if (kind != Kind::stream) source.from = ends[0];
  for (;;) {
    const auto comma = text.rfind(',');
    if (comma == std::string_view::npos) break;
    const auto option = text.substr(comma + 1);
    if (option.starts_with("priority=")) {
      source.priority = static_cast<int>(program::parse_number(option.substr(9), what + ": priority", 0, 1'000'000));
    } else if (option.starts_with("weight=")) {
      source.weight = static_cast<int>(program::parse_number(option.substr(7), what + ": weight", 1, 1000));
    } else if (kind != Kind::stream && option.starts_with(end)) {
      source.from = option.substr(end.size());
      if (source.from != ends[0] && source.from != ends[1]) {
        throw UsageError(fmt::format("{}: {}{} is neither {} nor {}", what, end, source.from, ends[0], ends[1]));
      }
    } else {
      break;
    }
    text = text.substr(0, comma);
  }
  refuse_key(text, what, kind);
  if (text.empty()) throw UsageError(what + ": the name is missing; write NAME[,priority=N][,weight=N]");
  source.name = text;
  return source;
}

Results parse_results(std::string_view text) {
  if (text == "none") return {.kind = "none", .key = ""};
  const auto colon = text.find(':');
  for (const std::string_view kind : {"stream", "list", "channel", "key"}) {
    if (colon != std::string_view::npos && text.substr(0, colon) == kind && colon + 1 < text.size()) {
      return {.kind = std::string(kind), .key = std::string(text.substr(colon + 1))};
    }
  }
  throw UsageError(fmt::format(
      "--results: '{}' names no place; write stream:NAME, list:NAME, channel:NAME, key:PREFIX or none", text));
}

namespace {

void add_sources(const std::vector<std::string>& texts, Kind kind, EngineSettings& settings) {
  for (const auto& text : texts) {
    Source source = parse_source(text, kind);
    for (const auto& other : settings.sources) {
      if (other.name == source.name) throw UsageError(fmt::format("'{}' is given twice", source.name));
    }
    settings.sources.push_back(std::move(source));
    settings.kind = kind;
  }
}

}  // namespace

EngineSettings engine_settings(const Options& o) {
  EngineSettings settings;
  settings.address = address_of(o.server);
  add_sources(o.streams, Kind::stream, settings);
  add_sources(o.lists, Kind::list, settings);
  add_sources(o.sorted_sets, Kind::sorted_set, settings);
  if ((o.streams.empty() ? 0 : 1) + (o.lists.empty() ? 0 : 1) + (o.sorted_sets.empty() ? 0 : 1) > 1) {
    throw UsageError("--stream, --list, --sorted-set: a bridge has sources of one kind; start one for each");
  }
  if (settings.sources.empty()) settings.sources.push_back({.name = o.queue});
  const auto& first = settings.sources[0].name;
  settings.results =
      o.results ? parse_results(*o.results)
                : Results{.kind = settings.kind == Kind::stream ? "stream" : "list", .key = first + ":results"};
  for (const auto& source : settings.sources) {
    if (source.name == settings.results.key && settings.results.kind != "channel") {
      throw UsageError(fmt::format("--results: tasks come from '{}'; choose another key", source.name));
    }
  }
  if (settings.results.kind == "key" && settings.kind != Kind::stream) {
    throw UsageError("--results key: names a key by the id of its task, which those of lists and sorted sets have not");
  }
  settings.group = o.group;
  settings.consumer = o.consumer ? *o.consumer : own_name();
  settings.is_named = o.consumer.has_value();
  settings.field = o.field;
  if (!o.payload_template.empty()) {
    settings.payload_template = std::make_shared<PayloadTemplate>(o.payload_template);
    if (settings.kind != Kind::stream)
      throw UsageError("--template: makes a payload of fields, which only streams have");
  }
  settings.inline_result = program::parse_size(o.inline_result, "--inline-result");
  settings.batch = o.batch;
  settings.attempts = static_cast<std::uint32_t>(o.attempts);
  settings.backoff = to_ms(o.backoff);
  settings.longest_backoff = to_ms(o.longest_backoff);
  settings.claim_after = std::max(to_ms(o.claim_after), Milliseconds(4));
  settings.poll = std::max(to_ms(o.poll), Milliseconds(1));
  settings.stay = std::max(to_ms(o.stay), Milliseconds(1));
  settings.rate = o.rate;
  settings.burst = o.burst.empty() ? static_cast<std::uint64_t>(std::ceil(std::min(o.rate, 1e9)))
                                   : program::parse_number(o.burst, "--burst", 1, UINT32_MAX);
  if (!o.burst.empty() && o.rate <= 0) throw UsageError("--burst: says how much --rate lets pass at once; give both");
  if (o.keep > 0 && !o.trim) throw UsageError("--keep: says what --trim leaves; give both");
  settings.trim = o.trim;
  settings.until_dry = o.until_empty;
  settings.measure = o.metrics.has_value();
  settings.keep = to_ms(o.keep);
  return settings;
}

WorkSettings work_settings(const Options& o) {
  static_cast<void>(parse_wait(o.wait));
  return {.broker = o.broker,
          .queue = o.queue,
          .wait = o.wait,
          .wait_for = o.wait_for,
          .in_flight = o.in_flight.empty() ? 0 : program::parse_number(o.in_flight, "--in-flight", 1, UINT32_MAX),
          .reply_bytes = o.reply_bytes.empty() ? 0 : program::parse_size(o.reply_bytes, "--reply-bytes"),
          .deadline = o.deadline};
}

LoopSettings loop_settings(const Options& o) {
  LoopSettings settings{.until_dry = o.until_empty, .label = o.queue};
  if (o.drain_for) settings.drain_for.emplace(*o.drain_for);
  return settings;
}

}  // namespace ipcq::bridge
