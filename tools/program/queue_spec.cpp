#include "program/queue_spec.hpp"

#include <chrono>
#include <filesystem>
#include <ipcq/builtin_handlers.hpp>
#include <ipcq/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "layout/limits.hpp"
#include "program/size_text.hpp"
#include "program/spec_values.hpp"

namespace ipcq::program {
namespace {

constexpr std::string_view kQueueKeys =
    "size, slots, lines, line, batch, handler, define, include, quick_start, handler_deadline, "
    "state, state_file, isolate, pool, backpressure, group, paused, threads, "
    "wait, endpoints, "
    "held, calls, on_server_death, schema, result_schema, metadata, backend, "
    "device, mirror, host_readable, executor";
constexpr std::string_view kPoolKeys = "size, slots, metadata, backend, device, mirror";
using Seconds = std::chrono::duration<double>;

// The first key that needs a GPU; empty if none does. A key at its default needs none, so that a configuration may
// write out the defaults for either backend.
std::string_view gpu_key(const PoolOptions& o) {
  if (o.device != PoolOptions{}.device) return "device";
  if (o.mirror != PoolOptions{}.mirror) return "mirror";
  return {};
}

std::string_view gpu_key(const QueueOptions& o) {
  if (o.device != QueueOptions{}.device) return "device";
  if (o.mirror != QueueOptions{}.mirror) return "mirror";
  if (o.host_readable != QueueOptions{}.host_readable) return "host_readable";
  if (o.executor != QueueOptions{}.executor) return "executor";
  return {};
}

// Splits "NAME=part,part,..." and passes each part on. A part is KEY=VALUE; the first may be a size alone. An empty
// part is an error.
template <class Spec>
Spec parse_spec(std::string_view text, std::string_view kind, std::string_view example) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    const char* const lacks = equals == 0 ? "has no name" : "says no size and no key";
    throw UsageError(fmt::format("{} '{}' {}; write NAME=SIZE,KEY=VALUE,... such as {}", kind, text, lacks, example));
  }
  Spec spec{std::string(text.substr(0, equals))};
  bool first = true;
  for (std::size_t begin = equals + 1, end = 0; end != std::string_view::npos; begin = end + 1, first = false) {
    end = text.find(',', begin);
    const std::string_view part = text.substr(begin, end == std::string_view::npos ? end : end - begin);
    const auto split = part.find('=');
    if (part.empty()) {
      throw UsageError(fmt::format("{} '{}': nothing stands {}; write NAME=SIZE,KEY=VALUE,... such as {}", kind, text,
                                   first ? "behind the '='" : "behind a comma, or before it", example));
    } else if (split != std::string_view::npos) {
      spec.set(part.substr(0, split), part.substr(split + 1));
    } else if (first) {
      spec.set("size", part);
    } else {
      throw UsageError(fmt::format("{} '{}': '{}' is not KEY=VALUE (only the size, which comes first, has no key)",
                                   kind, spec.name(), part));
    }
  }
  return spec;
}

}  // namespace

QueueSpec::QueueSpec(std::string name) : name_(std::move(name)) {}

QueueSpec QueueSpec::parse(std::string_view text) {
  auto spec = parse_spec<QueueSpec>(text, "queue", "frames=4k-rgb,slots=8,handler=invert");
  spec.finish();
  return spec;
}

std::string QueueSpec::what(std::string_view key) const { return fmt::format("queue '{}', {}", name_, key); }

bool QueueSpec::has(std::string_view key) const { return seen_.find(key) != seen_.end(); }

void QueueSpec::set(std::string_view key, std::string_view value) {
  const auto number = [&](std::uint64_t low, std::uint64_t high) {
    return static_cast<std::uint32_t>(parse_number(value, what(key), low, high));
  };
  if (has(key) && key != "group" && key != "define" && key != "include") throw UsageError(what(key) + ": given twice");
  if (set_of_handler(key, value) || set_of_messages(key, value)) {
    seen_.emplace(key);
    return;
  }
  if (key == "size") {
    set_size(value);
  } else if (key == "slots") {
    options_.slots = number(1, detail::kMaxSlots);
  } else if (key == "lines") {
    options_.lines = number(detail::kMinLines, detail::kMaxLines);
  } else if (key == "line") {
    options_.line = number(detail::kLeastLineBytes, detail::kMostLineBytes);
  } else if (key == "batch") {
    options_.batch = parse_batch(value, what(key));
  } else if (key == "pool") {
    if (value.empty()) throw UsageError(what(key) + ": names no pool; leave it out for a pool of the queue's own");
    options_.pool = value;
  } else if (key == "backpressure") {
    options_.backpressure = parse_backpressure(value, what(key));
  } else if (key == "group") {
    add_group(parse_group(value, what(key)));
  } else if (key == "paused") {
    options_.paused = parse_yes_no(value, what(key));
  } else if (key == "threads") {
    options_.threads = number(1, detail::kMaxThreads);
  } else if (key == "wait") {
    try {
      options_.wait = parse_wait(value);
    } catch (const UsageError& error) {
      throw UsageError(what(key) + ": " + error.what());
    }
  } else if (key == "endpoints") {
    options_.endpoints = number(1, detail::kMaxEndpoints);
  } else if (key == "held") {
    options_.held = number(1, detail::kMaxHeld);
  } else if (key == "calls") {
    options_.calls = number(1, detail::kMaxCalls);
  } else if (key == "on_server_death") {
    options_.on_server_death = parse_on_server_death(value, what(key));
  } else if (key == "backend") {
    options_.backend = parse_backend(value, what(key));
  } else if (key == "device") {
    options_.device = parse_device(value, what(key));
  } else if (key == "mirror") {
    options_.mirror = parse_mirror(value, what(key));
  } else if (key == "host_readable") {
    options_.host_readable = parse_yes_no(value, what(key));
  } else if (key == "executor") {
    options_.executor = parse_executor(value, what(key));
  } else {
    throw UsageError(fmt::format("queue '{}': unknown key '{}'; there are {}", name_, key, kQueueKeys));
  }
  seen_.emplace(key);
}

// False: it is not of what messages are.
bool QueueSpec::set_of_messages(std::string_view key, std::string_view value) {
  if (key == "metadata") {
    options_.metadata = static_cast<std::uint32_t>(parse_number(value, what(key), 0, detail::kMostMetadataBytes));
  } else if (key == "schema") {
    options_.schema = parse_schema(value, what(key));
  } else if (key == "result_schema") {
    options_.result_schema = parse_schema(value, what(key));
  } else {
    return false;
  }
  return true;
}

// False: it is not of the handler.
bool QueueSpec::set_of_handler(std::string_view key, std::string_view value) {
  if (key == "handler") {
    if (!value.empty() && find_host_handler(value) == nullptr && !is_handler_file(value)) {
      throw UsageError(fmt::format("{}: '{}' is unknown; there are {}, and source files of your own (x.cu)", what(key),
                                   value, fmt::join(handler_names(), ", ")));
    }
    options_.handler = value;
  } else if (key == "define" || key == "include") {
    if (value.empty()) throw UsageError(what(key) + ": is empty; leave it out");
    (key == "define" ? options_.defines : options_.includes).emplace_back(value);
  } else if (key == "quick_start") {
    options_.quick_start = parse_yes_no(value, what(key));
  } else if (key == "handler_deadline") {
    options_.handler_deadline = Timeout(Seconds(parse_decimal(value, what(key), Decimal::not_negative)));
  } else if (key == "state") {
    options_.state_bytes = parse_size(value, what(key));
  } else if (key == "state_file") {
    if (value.empty()) throw UsageError(what(key) + ": is empty; leave it out");
    options_.state_file = value;
  } else if (key == "isolate") {
    options_.isolate = parse_yes_no(value, what(key));
  } else {
    return false;
  }
  return true;
}

void QueueSpec::set_size(std::string_view value) {
  if (value != "inline") {
    options_.size = parse_size(value, what("size"));
    return;
  }
  options_.slots = 0;
  inline_ = true;
}

// Groups that are named take the place of the group "default".
void QueueSpec::add_group(GroupOptions group) {
  if (!groups_given_) options_.groups.clear();
  groups_given_ = true;
  for (const GroupOptions& other : options_.groups) {
    if (other.name == group.name) throw UsageError(fmt::format("{}: '{}' is given twice", what("group"), group.name));
  }
  options_.groups.push_back(std::move(group));
}

void QueueSpec::finish() {
  if (inline_ && has("slots")) {
    throw UsageError(what("slots") + ": a queue of size 'inline' has none; leave it out");
  }
  if (inline_ && options_.batch == Batch::records) {
    throw UsageError(what("batch") +
                     ": records travel in slots, and a queue of size 'inline' has none; give it a size in bytes, or "
                     "leave batch out");
  }
  if (has("pool") && has("metadata")) {
    throw UsageError(
        fmt::format("queue '{}': pool '{}' says how much its slots have; leave out metadata", name_, options_.pool));
  }
  if (has("pool") && (has("size") || has("slots"))) {
    throw UsageError(fmt::format(
        "queue '{}': a queue in pool '{}' takes its slots from there; leave out size and slots", name_, options_.pool));
  }
  if (has("pool") && (has("mirror") || has("device"))) {
    throw UsageError(fmt::format("queue '{}': pool '{}' says where its slots lie; leave out device and mirror", name_,
                                 options_.pool));
  }
  if (options_.backend == "host") {
    if (const auto key = gpu_key(options_); !key.empty()) {
      throw UsageError(what(key) + ": says nothing to backend=host; leave out one of them");
    }
  }
  if (!is_handler_file(options_.handler)) {
    for (const char* key : {"define", "include", "quick_start", "handler_deadline", "state"}) {
      if (has(key)) throw UsageError(what(key) + ": is of a handler from a file; name one, or leave it out");
    }
  }
  if (options_.isolate && options_.handler.empty()) {
    throw UsageError(what("isolate") +
                     ": is of the process that works on the queue with a handler; name one, or leave it out");
  }
  if (has("state_file") && !has("state")) {
    throw UsageError(what("state_file") +
                     ": the state that begins with it has no size; give it one (state), or leave " + "state_file out");
  }
  if (options_.handler.empty()) {
    for (const char* key : {"threads", "wait"}) {
      if (has(key)) throw UsageError(what(key) + ": is of the handler's threads; name a handler, or leave it out");
    }
  }
  if (options_.mirror == Mirror::none && has("host_readable") && options_.host_readable) {
    throw UsageError(what("host_readable") + ": without a mirror nothing is readable on the host; use mirror=full");
  }
}

void QueueSpec::begin_paths_at(const std::string& folder) {
  const auto beginning_there = [&](const std::string& path) { return (std::filesystem::path(folder) / path).string(); };
  if (is_handler_file(options_.handler)) options_.handler = beginning_there(options_.handler);
  for (auto& include : options_.includes) include = beginning_there(include);
  if (!options_.state_file.empty()) options_.state_file = beginning_there(options_.state_file);
}

void QueueSpec::default_backend(const std::string& backend) {
  if (options_.backend == "auto") options_.backend = backend;
  if (options_.backend != "auto" || !options_.handler.empty() || !options_.pool.empty()) return;
  if (const auto key = gpu_key(options_); !key.empty()) {
    throw UsageError(what(key) + ": without a handler backend=auto is host, to which this says nothing; write " +
                     "backend=cuda, or leave it out");
  }
}

PoolSpec::PoolSpec(std::string name) : name_(std::move(name)) {}

PoolSpec PoolSpec::parse(std::string_view text) {
  auto spec = parse_spec<PoolSpec>(text, "pool", "shared=1MiB,slots=64");
  spec.finish();
  return spec;
}

void PoolSpec::set(std::string_view key, std::string_view value) {
  const auto what = fmt::format("pool '{}', {}", name_, key);
  if (!seen_.emplace(key).second) throw UsageError(what + ": given twice");
  if (key == "size") {
    options_.size = parse_size(value, what);
  } else if (key == "slots") {
    options_.slots = static_cast<std::uint32_t>(parse_number(value, what, 1, detail::kMaxSlots));
  } else if (key == "metadata") {
    options_.metadata = static_cast<std::uint32_t>(parse_number(value, what, 0, detail::kMostMetadataBytes));
  } else if (key == "backend") {
    options_.backend = parse_backend(value, what);
  } else if (key == "device") {
    options_.device = parse_device(value, what);
  } else if (key == "mirror") {
    options_.mirror = parse_mirror(value, what);
  } else {
    throw UsageError(fmt::format("pool '{}': unknown key '{}'; there are {}", name_, key, kPoolKeys));
  }
}

void PoolSpec::finish() {
  if (const auto key = gpu_key(options_); options_.backend == "host" && !key.empty()) {
    throw UsageError(fmt::format("pool '{}', {}: says nothing to backend=host; leave out one of them", name_, key));
  }
}

void PoolSpec::default_backend(const std::string& backend) {
  if (options_.backend == "auto") options_.backend = backend;
  if (const auto key = gpu_key(options_); options_.backend == "auto" && !key.empty()) {
    throw UsageError(
        fmt::format("pool '{}', {}: backend=auto is host for a pool, to which this says nothing; write "
                    "backend=cuda, or leave it out",
                    name_, key));
  }
}

}  // namespace ipcq::program
