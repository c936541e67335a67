#include "common/command_line.hpp"

#include <cerrno>
#include <cstring>
#include <iostream>
#include <ipcq/error.hpp>
#include <ipcq/version.hpp>
#include <span>
#include <sstream>
#include <string_view>

#include <fmt/format.h>

#include "common/exit_code.hpp"
#include "common/logging.hpp"
#include "common/print.hpp"
#include "common/printable.hpp"
#include "common/size_text.hpp"

namespace ipcq::program {

namespace {

// `parse` throws UsageError "WHAT: ..."; CLI11 puts the option's name before what it gets. Hands on what was read, in
// the one spelling that every parser reads alike.
template <class Parse>
CLI::Validator number(const Parse& parse) {
  return {[parse](std::string& text) -> std::string {
            try {
              text = fmt::format("{}", parse(text));
              return {};
            } catch (const UsageError& error) {
              return std::string(error.what()).substr(2);
            }
          },
          ""};
}

CLI::Validator decimal(Decimal range) {
  return number([range](const std::string& text) { return parse_decimal(text, "", range); });
}

constexpr const char* kIsEmpty = "is empty; give it a value, or leave it out";

bool is_object_name(const std::string& text) {
  constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  return !text.empty() && text.size() < 64 && text[0] != '.' && text[0] != '-' &&
         text.find_first_not_of(kAllowed) == std::string::npos;
}

// Of "--output= q" CLI11 would take q for the value.
void refuse_empty_values(int argc, char** argv) {
  for (const char* const text : std::span(argv, static_cast<std::size_t>(argc)).subspan(1)) {
    const std::string_view word(text);
    if (word == "--") return;
    if (word.starts_with("--") && word.find('=') == word.size() - 1) {
      throw CLI::ValidationError(std::string(word.substr(0, word.size() - 1)), kIsEmpty);
    }
  }
}

}  // namespace

CLI::Validator whole_number(std::uint64_t low, std::uint64_t high) {
  return number([low, high](const std::string& text) { return parse_number(text, "", low, high); });
}
CLI::Validator positive() { return decimal(Decimal::positive); }
CLI::Validator not_negative() { return decimal(Decimal::not_negative); }

CLI::Validator not_empty() {
  return {[](const std::string& text) { return std::string(text.empty() ? kIsEmpty : ""); }, ""};
}

CLI::Validator object_name() {
  return {[](const std::string& text) {
            if (text.empty()) return std::string(kIsEmpty);
            if (is_object_name(text)) return std::string();
            return "'" + text + "': use 1 to 63 letters, digits, '.', '_' or '-', not starting with '.' or '-'";
          },
          ""};
}

std::string version_line(const std::string& program) {
  return fmt::format("{} {} (ABI {}, backends: {})", program, kVersion, kAbiVersion, IPCQ_BACKENDS);
}

void add_common_options(CLI::App& app, const std::string& program) {
  app.set_version_flag("--version", version_line(program), "Print version, ABI and backends");
  auto* const verbose = app.add_flag_callback("-v,--verbose", set_verbose, "Say more on stderr");
  app.add_flag_callback("-q,--quiet", set_quiet, "Only warnings and errors on stderr")->excludes(verbose);
}

std::optional<int> parse_command_line(CLI::App& app, int argc, char** argv) {
  app.failure_message([](const CLI::App* failed, const CLI::Error& error) {
    return CLI::FailureMessage::simple(failed, {error.get_name(), printable(error.what()), error.get_exit_code()});
  });
  try {
    refuse_empty_values(argc, argv);
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    std::ostringstream text;
    const bool asked = app.exit(error, text, std::cerr) == 0;  // CLI11 ends with codes of its own from 100 on
    print(text.str());
    return asked ? kOk : kUsage;
  }
}

Duration to_duration(double seconds) {
  constexpr double kYear = 365.0 * 86400;
  if (seconds >= kYear) return std::chrono::hours(365 * 24);
  return Duration(static_cast<Duration::rep>(seconds * 1e9));
}

}  // namespace ipcq::program
