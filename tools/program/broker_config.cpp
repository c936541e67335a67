#include "program/broker_config.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <ipcq/error.hpp>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "program/file_descriptor.hpp"
#include "program/inherited_descriptors.hpp"
#include "program/size_text.hpp"
#include "program/spec_values.hpp"

namespace ipcq::program {
namespace {

[[noreturn]] void refuse(const std::string& source, const toml::source_region& where, const std::string& text) {
  throw UsageError(fmt::format("{}:{}: {}", source, where.begin.line, text));
}

// The scalar's text as it would stand on the command line.
std::string as_text(const toml::node& node, const std::string& source, std::string_view key) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "yes" : "no";
  refuse(source, node.source(), fmt::format("'{}' must be a text, a number, true or false", key));
}

std::string as_name(const toml::node& node, const std::string& source, std::string_view key) {
  std::string text = as_text(node, source, key);
  if (text.empty()) refuse(source, node.source(), fmt::format("'{}' is empty; leave it out", key));
  return text;
}

double as_seconds(const toml::node& node, const std::string& source, std::string_view key) {
  const auto value = node.value<double>();
  if (!value || !is_in(*value, Decimal::not_negative))
    refuse(source, node.source(), fmt::format("'{}' must be a number of seconds, 0 or more", key));
  return *value;
}

// Reads [[queue]] or [[pool]]. The keys of a table are those of a spec on the command line.
template <class Spec>
std::vector<Spec> read_specs(const toml::node& node, const std::string& source, const char* kind) {
  const auto* tables = node.as_array();
  if (tables == nullptr)
    refuse(source, node.source(), fmt::format("write [[{}]], with a name key, for each {}", kind, kind));
  std::vector<Spec> specs;
  for (const auto& entry : *tables) {
    const auto* table = entry.as_table();
    if (table == nullptr) refuse(source, entry.source(), fmt::format("each {} must be a table", kind));
    const auto* name = table->get_as<std::string>("name");
    if (name == nullptr) refuse(source, table->source(), fmt::format("a [[{}]] has no name", kind));
    Spec spec(name->get());
    try {
      for (const auto& [key, value] : *table) {
        if (key.str() == "name") continue;
        if (const auto* list = value.as_array()) {
          for (const auto& item : *list) spec.set(key.str(), as_text(item, source, key.str()));
        } else {
          spec.set(key.str(), as_text(value, source, key.str()));
        }
      }
      spec.finish();
    } catch (const UsageError& error) {
      const std::string text = error.what();
      if (text.starts_with(source + ":")) throw;
      refuse(source, table->source(), text);
    }
    specs.push_back(std::move(spec));
  }
  return specs;
}

template <class T>
void fill(std::optional<T>& mine, const std::optional<T>& other) {
  if (!mine) mine = other;
}

template <class Spec>
void fill(std::vector<Spec>& mine, const std::vector<Spec>& others) {
  for (const Spec& other : others) {
    const bool known =
        std::any_of(mine.begin(), mine.end(), [&](const Spec& spec) { return spec.name() == other.name(); });
    if (!known) mine.push_back(other);
  }
}

template <class Spec>
void refuse_duplicates(const std::vector<Spec>& specs, const char* kind, std::string_view source) {
  std::set<std::string_view> names;
  for (const Spec& spec : specs) {
    if (names.insert(spec.name()).second) continue;
    throw UsageError(
        fmt::format("{}: {} '{}' is given twice; leave out one, or give it another name", source, kind, spec.name()));
  }
}

[[noreturn]] void cannot_read(const std::string& path, const char* why) {
  throw UsageError(fmt::format("cannot read configuration '{}': {}", path, why));
}

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

template <class Spec>
std::vector<Spec> specs_of_variable(const char* name) {
  std::vector<Spec> specs;
  std::istringstream words(variable(name).value_or(""));
  for (std::string word; words >> word;) specs.push_back(Spec::parse(word));
  return specs;
}

}  // namespace

void BrokerConfig::fill_from(const BrokerConfig& other) {
  fill(name, other.name);
  fill(unix_group, other.unix_group);
  fill(admin_group, other.admin_group);
  fill(max_queues, other.max_queues);
  fill(max_memory, other.max_memory);
  fill(drain_seconds, other.drain_seconds);
  fill(backend, other.backend);
  fill(pools, other.pools);
  fill(queues, other.queues);
}

std::uint64_t max_queues_of(const BrokerConfig& config) {
  return config.max_queues ? parse_number(*config.max_queues, "max-queues", 1, UINT32_MAX) : 0;
}

std::uint64_t max_memory_of(const BrokerConfig& config) {
  return config.max_memory ? parse_size(*config.max_memory, "max-memory") : 0;
}

void refuse_duplicates(const BrokerConfig& config, std::string_view source) {
  refuse_duplicates(config.pools, "pool", source);
  refuse_duplicates(config.queues, "queue", source);
}

BrokerConfig parse_broker_config(std::string_view text, const std::string& source) {
  toml::table root;
  try {
    root = toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    refuse(source, error.source(), std::string(error.description()));
  }
  BrokerConfig config;
  for (const auto& [key, node] : root) {
    if (key == "name") {
      config.name = as_name(node, source, key);
    } else if (key == "group") {
      config.unix_group = as_name(node, source, key);
    } else if (key == "admin_group") {
      config.admin_group = as_name(node, source, key);
    } else if (key == "max_queues") {
      config.max_queues = as_name(node, source, key);
    } else if (key == "max_memory") {
      config.max_memory = as_name(node, source, key);
    } else if (key == "drain_seconds") {
      config.drain_seconds = as_seconds(node, source, key);
    } else if (key == "backend") {
      config.backend =
          parse_backend(as_text(node, source, key), fmt::format("{}:{}: backend", source, node.source().begin.line));
    } else if (key == "pool") {
      config.pools = read_specs<PoolSpec>(node, source, "pool");
    } else if (key == "queue") {
      config.queues = read_specs<QueueSpec>(node, source, "queue");
    } else {
      refuse(source, node.source(),
             fmt::format("unknown key '{}'; there are name, group, admin_group, max_queues, max_memory, drain_seconds, "
                         "backend, [[pool]], [[queue]]",
                         key.str()));
    }
  }
  refuse_duplicates(config, source);
  return config;
}

// Uses read(2) for its errno: an ifstream would take a directory, or a failing disk, for an empty file.
BrokerConfig read_broker_config(const std::string& path) {
  if (leads_to_unreadable_descriptor(path)) {
    cannot_read(path, "it was not open for reading when this program started");
  }
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) cannot_read(path, std::strerror(errno));
  std::string text;
  for (std::array<char, 4096> part;;) {
    const ssize_t count = ::read(file.get(), part.data(), part.size());
    if (count == 0) break;
    if (count > 0) {
      text.append(part.data(), static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      cannot_read(path, std::strerror(errno));
    }
  }
  BrokerConfig config = parse_broker_config(text, path);
  std::error_code ignored;
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty() && std::filesystem::is_regular_file(path, ignored)) {
    for (QueueSpec& queue : config.queues) queue.begin_paths_at(folder.string());
  }
  return config;
}

std::vector<std::string> default_config_paths() {
  std::vector<std::filesystem::path> candidates;
  if (const auto xdg = variable("XDG_CONFIG_HOME")) {
    candidates.emplace_back(*xdg);
  } else if (const auto home = variable("HOME")) {
    candidates.emplace_back(*home + "/.config");
  }
  candidates.emplace_back("/etc");
  std::vector<std::string> found;
  for (const auto& directory : candidates) {
    const auto path = directory / "ipcq" / "broker.toml";
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) found.push_back(path.string());
  }
  return found;
}

BrokerConfig environment_config() {
  BrokerConfig config;
  config.name = variable("IPCQ_BROKER");
  config.unix_group = variable("IPCQ_UNIX_GROUP");
  if (const auto backend = variable("IPCQ_BACKEND")) config.backend = parse_backend(*backend, "IPCQ_BACKEND");
  if (const auto seconds = variable("IPCQ_DRAIN_SECONDS")) {
    config.drain_seconds = parse_decimal(*seconds, "IPCQ_DRAIN_SECONDS", Decimal::not_negative);
  }
  config.pools = specs_of_variable<PoolSpec>("IPCQ_POOLS");
  config.queues = specs_of_variable<QueueSpec>("IPCQ_QUEUES");
  refuse_duplicates(config, "the environment");
  return config;
}

}  // namespace ipcq::program
