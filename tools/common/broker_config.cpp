#include "common/broker_config.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <ipcq/error.hpp>
#include <sstream>

#include <fmt/format.h>
#include <toml++/toml.h>

namespace ipcq::program {
namespace {

[[noreturn]] void refuse(const std::string& source, const toml::source_region& where, const std::string& text) {
  throw UsageError(fmt::format("{}:{}: {}", source, where.begin.line, text));
}

// A scalar as the command line would spell it.
std::string as_text(const toml::node& node, const std::string& source, std::string_view key) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "yes" : "no";
  refuse(source, node.source(), fmt::format("'{}' must be a text, a whole number, true or false", key));
}

double as_seconds(const toml::node& node, const std::string& source, std::string_view key) {
  const auto value = node.value<double>();
  if (!value || *value < 0)
    refuse(source, node.source(), fmt::format("'{}' must be a number of seconds, 0 or more", key));
  return *value;
}

// [[queue]] or [[pool]]: each table's keys are those of the command line's spec.
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
  fill(drain_seconds, other.drain_seconds);
  fill(backend, other.backend);
  fill(pools, other.pools);
  fill(queues, other.queues);
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
      config.name = as_text(node, source, key);
    } else if (key == "group") {
      config.unix_group = as_text(node, source, key);
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
             fmt::format("unknown key '{}'; there are name, group, drain_seconds, backend, [[pool]], [[queue]]",
                         key.str()));
    }
  }
  return config;
}

BrokerConfig read_broker_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) {
    if (file && file.peek() == std::ifstream::traits_type::eof()) return {};  // an empty file
    throw UsageError(fmt::format("cannot read configuration '{}': {}", path, std::strerror(errno)));
  }
  return parse_broker_config(text.str(), path);
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
    char* end = nullptr;
    config.drain_seconds = std::strtod(seconds->c_str(), &end);
    if (*end != '\0' || !(*config.drain_seconds >= 0)) {
      throw UsageError(fmt::format("IPCQ_DRAIN_SECONDS: '{}' is not a number of seconds, 0 or more", *seconds));
    }
  }
  config.pools = specs_of_variable<PoolSpec>("IPCQ_POOLS");
  config.queues = specs_of_variable<QueueSpec>("IPCQ_QUEUES");
  return config;
}

}  // namespace ipcq::program
