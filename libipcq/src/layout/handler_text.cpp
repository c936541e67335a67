#include "layout/handler_text.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <span>
#include <string_view>

#include "base/os.hpp"
#include "ipcq/builtin_handlers.hpp"
#include "ipcq/error.hpp"
#include "layout/limits.hpp"
#include "layout/text_field.hpp"

namespace ipcq::detail {
namespace {

constexpr std::string_view kSources[] = {".cu", ".cpp", ".cc", ".cxx"};
constexpr std::string_view kBuilt[] = {".so", ".ptx", ".ltoir", ".o"};

bool ends_in_one_of(std::string_view file, std::span<const std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view ending) { return file.ends_with(ending); });
}

template <class T>
bool parse(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

HandlerArgument argument_of(const std::string& object, std::string_view part) {
  const auto equals = part.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals >= kArgumentNameBytes) {
    throw UsageError(object + ": argument '" + printable(std::string(part)) +
                     "' of the handler is not NAME=VALUE, with a name of 1 to " +
                     std::to_string(kArgumentNameBytes - 1) + " characters");
  }
  HandlerArgument a{};
  std::memcpy(a.name, part.data(), equals);
  const std::string_view value = part.substr(equals + 1);
  a.is_integer = parse(value, a.integer) ? 1 : 0;
  if (std::uint64_t big = 0; a.is_integer == 0 && parse(value, big)) {
    a.integer = static_cast<std::int64_t>(big);
    a.is_integer = a.is_big = 1;
  }
  a.is_real = parse(value, a.real) ? 1 : 0;
  const bool yes = value == "yes" || value == "true" || value == "1";
  if (yes || value == "no" || value == "false" || value == "0") {
    a.is_yes_or_no = 1;
    a.integer = yes ? 1 : 0;
  }
  return a;
}

}  // namespace

bool is_source_file(const std::string& file) noexcept { return ends_in_one_of(file, kSources); }

bool has_handler_ending(const std::string& file) noexcept {
  return is_source_file(file) || ends_in_one_of(file, kBuilt);
}

HandlerText split_handler(const std::string& handler) {
  for (auto colon = handler.find(':'); colon != std::string::npos; colon = handler.find(':', colon + 1)) {
    const std::string file = handler.substr(0, colon);
    if (has_handler_ending(file)) return {file, handler.substr(colon + 1)};
  }
  return {handler, {}};
}

std::string handler_label(const std::string& handler) {
  if (!is_handler_file(handler)) return handler;
  const std::string file = split_handler(handler).file;
  const auto slash = file.rfind('/');
  return file.substr(slash == std::string::npos ? 0 : slash + 1).substr(0, kNameBytes - 1);
}

std::vector<HandlerArgument> parse_arguments(const std::string& object, const std::string& text) {
  std::vector<HandlerArgument> all;
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto colon = rest.find(':');
    all.push_back(argument_of(object, rest.substr(0, colon)));
    rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
    const char* const name = all.back().name;
    if (std::any_of(all.begin(), all.end() - 1, [&](const auto& a) { return std::strcmp(a.name, name) == 0; })) {
      throw UsageError(object + ": argument '" + name + "' of the handler is given twice");
    }
  }
  if (all.size() > kMostArguments) {
    throw UsageError(object + ": " + std::to_string(all.size()) + " arguments of the handler; there may be " +
                     std::to_string(kMostArguments));
  }
  return all;
}

void check_state(const HandlerReport& report, std::uint64_t state_bytes, const std::string& object) {
  if (report.takes_state != 0 && state_bytes == 0) {
    throw UsageError(object + ": takes state, and the queue has none; give it some (state=SIZE)");
  }
  if (report.takes_state == 0 && state_bytes != 0) {
    throw UsageError(object + ": does not take the " + format_bytes(state_bytes) +
                     " of state that the queue has; leave state out, or give its call a last parameter, ipcq::State (a "
                     "C function that was built ahead has none; name its source file)");
  }
}

std::string text_of(const HandlerReport& report, const std::vector<HandlerArgument>& arguments) {
  const std::string names = get_text(report.names, sizeof report.names);
  const std::string name = report.argument < arguments.size()
                               ? get_text(arguments[report.argument].name, kArgumentNameBytes)
                               : std::string("?");
  const auto what = [&](const char* needs) { return "its parameter '" + name + "' " + needs; };
  switch (report.problem) {
    case ArgumentProblem::none:
      return "its constructor failed";
    case ArgumentProblem::not_yes_or_no:
      return what("is yes or no");
    case ArgumentProblem::not_integer:
      return what("is an integer");
    case ArgumentProblem::out_of_range:
      return what("cannot hold that number");
    case ArgumentProblem::not_real:
      return what("is a number");
    case ArgumentProblem::unknown:
      break;
  }
  return "it has no parameter '" + name + "'" +
         (names.empty() ? "; IPCQ_HANDLER(Type, NAME, ...) names those that it has, and there are none"
                        : "; there are " + names);
}

}  // namespace ipcq::detail
