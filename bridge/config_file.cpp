#include "config_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <ipcq/error.hpp>
#include <iterator>

#include <fmt/format.h>
#include <toml++/toml.h>

namespace ipcq::bridge {
namespace {

constexpr std::string_view kConfig = "--config";

std::string as_text(const toml::node& node, const std::string& key, const std::string& source) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", number->get());
  throw UsageError(fmt::format("{}:{}: '{}' must be a text, a number, true or false, or a list of texts", source,
                               node.source().begin.line, key));
}

bool is_given(const std::string& option, const std::vector<std::string>& arguments) {
  const bool on_line = std::any_of(arguments.begin(), arguments.end(), [&](const std::string& argument) {
    return argument == option || argument.starts_with(option + "=");
  });
  const char* const variable = std::getenv(variable_of(option.substr(2)).c_str());
  return on_line || variable != nullptr;
}

}  // namespace

std::string variable_of(std::string_view option) {
  if (option == "redis") return "IPCQ_REDIS_URL";
  if (option == "broker") return "IPCQ_BROKER";
  std::string name = "IPCQ_REDIS_";
  for (const char c : option) name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

std::optional<std::string> find_config(const std::vector<std::string>& arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == kConfig && i + 1 < arguments.size()) return arguments[i + 1];
    if (arguments[i].starts_with("--config=")) return arguments[i].substr(kConfig.size() + 1);
  }
  if (const char* named = std::getenv("IPCQ_REDIS_CONFIG"); named != nullptr) return named;
  std::vector<std::string> places;
  const char* const home = std::getenv("HOME");
  const char* const config_home = std::getenv("XDG_CONFIG_HOME");
  if (config_home != nullptr && *config_home == '/') {
    places.push_back(std::string(config_home) + "/ipcq/redis.toml");
  } else if (home != nullptr && *home == '/') {
    places.push_back(std::string(home) + "/.config/ipcq/redis.toml");
  }
  places.emplace_back("/etc/ipcq/redis.toml");
  for (auto& place : places) {
    std::error_code error;
    if (std::filesystem::exists(place, error)) return std::move(place);
  }
  return std::nullopt;
}

std::vector<std::string> with_config(const std::vector<std::string>& arguments, std::string_view text,
                                     const std::string& source) {
  toml::table table;
  try {
    table = toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    throw UsageError(fmt::format("{}:{}: {}", source, error.source().begin.line, error.description()));
  }
  std::vector<std::string> all;
  for (const auto& [name, node] : table) {
    std::string key(name.str());
    std::replace(key.begin(), key.end(), '_', '-');
    const std::string option = "--" + key;
    if (option == kConfig || is_given(option, arguments)) continue;
    if (option == "--redis") {
      ::setenv(variable_of("redis").c_str(), as_text(node, key, source).c_str(), 1);
      continue;
    }
    if (const auto* flag = node.as_boolean()) {
      if (flag->get()) all.push_back(option);
    } else if (const auto* list = node.as_array()) {
      for (const auto& element : *list) all.push_back(option + "=" + as_text(element, key, source));
    } else {
      all.push_back(option + "=" + as_text(node, key, source));
    }
  }
  all.insert(all.end(), arguments.begin(), arguments.end());
  return all;
}

std::vector<std::string> with_config_file(const std::vector<std::string>& arguments, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  if (!file.is_open() || file.bad()) {
    throw UsageError(
        fmt::format("{}: cannot be read: {}; give another --config, or leave it out", path, std::strerror(errno)));
  }
  return with_config(arguments, text, path);
}

}  // namespace ipcq::bridge
