#include "program/command_line.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <ipcq/error.hpp>
#include <ipcq/version.hpp>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "layout/limits.hpp"
#include "program/exit_code.hpp"
#include "program/logging.hpp"
#include "program/nearest.hpp"
#include "program/print.hpp"
#include "program/printable.hpp"
#include "program/size_text.hpp"

namespace ipcq::program {

namespace {

// A rule from `parse`, which throws UsageError "WHAT: ..."; CLI11 puts the option's name before it. The text becomes
// the number in plain decimal, which every later parser reads alike.
template <class Parse>
ValueRule number(const Parse& parse) {
  return {.apply = [parse](std::string& text) -> std::string {
            try {
              text = fmt::format("{}", parse(text));
              return {};
            } catch (const UsageError& error) {
              return std::string(error.what()).substr(2);
            }
          },
          .one_of = {}};
}

ValueRule decimal(Decimal range) {
  return number([range](const std::string& text) { return parse_decimal(text, "", range); });
}

constexpr const char* kIsEmpty = "is empty; give it a value, or leave it out";

bool is_object_name(const std::string& text) {
  constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  return !text.empty() && text.size() < detail::kNameBytes && text[0] != '.' && text[0] != '-' &&
         text.find_first_not_of(kAllowed) == std::string::npos;
}

CLI::Validator validator(const ValueRule& rule) {
  if (!rule.one_of.empty()) return CLI::IsMember(rule.one_of);
  return {rule.apply, ""};
}

// CLI11 would take the q of "--output= q" for the value of --output.
void refuse_empty_values(int argc, char** argv) {
  for (const char* const text : std::span(argv, static_cast<std::size_t>(argc)).subspan(1)) {
    const std::string_view word(text);
    if (word == "--") return;
    if (word.starts_with("--") && word.find('=') == word.size() - 1) {
      throw CLI::ValidationError(std::string(word.substr(0, word.size() - 1)), kIsEmpty);
    }
  }
}

// CLI11 before 2.4 takes all names, later releases not these: a program that has one is wrong everywhere.
const std::string& sound(const std::string& names) {
  if (names.find_first_of("=:{") == std::string::npos) return names;
  throw std::logic_error(fmt::format("the name of an option or operand has '=', ':' or '{{': {}", names));
}

}  // namespace

ValueRule whole_number(std::uint64_t low, std::uint64_t high) {
  return number([low, high](const std::string& text) { return parse_number(text, "", low, high); });
}
ValueRule positive() { return decimal(Decimal::positive); }
ValueRule not_negative() { return decimal(Decimal::not_negative); }

ValueRule not_empty() {
  return {.apply = [](const std::string& text) { return std::string(text.empty() ? kIsEmpty : ""); }, .one_of = {}};
}

ValueRule object_name() {
  return {.apply =
              [](const std::string& text) {
                if (text.empty()) return std::string(kIsEmpty);
                if (is_object_name(text)) return std::string();
                return fmt::format("'{}': use 1 to {} letters, digits, '.', '_' or '-', not starting with '.' or '-'",
                                   text, detail::kNameBytes - 1);
              },
          .one_of = {}};
}

ValueRule one_of(std::vector<std::string> words) { return {.apply = {}, .one_of = std::move(words)}; }

CommandOption& CommandOption::check(const ValueRule& rule) {
  option_->check(validator(rule));
  return *this;
}

CommandOption& CommandOption::transform(const ValueRule& rule) {
  option_->transform(validator(rule));
  return *this;
}

CommandOption& CommandOption::required() {
  option_->required();
  return *this;
}

CommandOption& CommandOption::excludes(const CommandOption& other) {
  option_->excludes(other.option_);
  return *this;
}

CommandOption& CommandOption::environment(const char* variable) {
  option_->envname(variable);
  return *this;
}

CommandOption& CommandOption::show_default() {
  option_->capture_default_str();
  return *this;
}

CommandOption& CommandOption::one_value_each() {
  option_->allow_extra_args(false);
  return *this;
}

CommandLine::CommandLine(const std::string& purpose)
    : owned_(std::make_unique<CLI::App>(purpose)), app_(owned_.get()) {}
CommandLine::CommandLine(CLI::App* app) : app_(app) {}
CommandLine::~CommandLine() = default;
CommandLine::CommandLine(CommandLine&&) noexcept = default;

CommandOption CommandLine::add_option(const std::string& names, std::string& value, const std::string& help) {
  return CommandOption(app_->add_option(sound(names), value, help));
}
CommandOption CommandLine::add_option(const std::string& names, std::optional<std::string>& value,
                                      const std::string& help) {
  return CommandOption(app_->add_option(sound(names), value, help));
}
CommandOption CommandLine::add_option(const std::string& names, std::vector<std::string>& values,
                                      const std::string& help) {
  return CommandOption(app_->add_option(sound(names), values, help));
}
CommandOption CommandLine::add_option(const std::string& names, int& value, const std::string& help) {
  return CommandOption(app_->add_option(sound(names), value, help));
}
CommandOption CommandLine::add_option(const std::string& names, std::optional<int>& value, const std::string& help) {
  return CommandOption(app_->add_option(sound(names), value, help));
}
CommandOption CommandLine::add_option(const std::string& names, std::uint64_t& value, const std::string& help) {
  return CommandOption(app_->add_option(sound(names), value, help));
}
CommandOption CommandLine::add_option(const std::string& names, double& value, const std::string& help) {
  return CommandOption(app_->add_option(sound(names), value, help));
}
CommandOption CommandLine::add_option(const std::string& names, std::optional<double>& value, const std::string& help) {
  return CommandOption(app_->add_option(sound(names), value, help));
}
CommandOption CommandLine::add_flag(const std::string& names, bool& value, const std::string& help) {
  return CommandOption(app_->add_flag(sound(names), value, help));
}

void CommandLine::add_common_options(const std::string& program) {
  app_->set_version_flag("--version", version_line(program), "Print version, ABI and backends");
  auto* const verbose = app_->add_flag_callback("-v,--verbose", set_verbose, "Say more on stderr");
  app_->add_flag_callback("-q,--quiet", set_quiet, "Only warnings and errors on stderr")->excludes(verbose);
}

CommandLine CommandLine::add_group(const std::string& name, const std::string& help) {
  return CommandLine(app_->add_option_group(name, help));
}
void CommandLine::require_one() { app_->require_option(1); }
CommandLine CommandLine::add_command(const std::string& name, const std::string& help) {
  return CommandLine(app_->add_subcommand(name, help));
}
void CommandLine::require_command() { app_->require_subcommand(1); }
bool CommandLine::is_chosen() const { return app_->parsed(); }

std::string version_line(const std::string& program) {
  return fmt::format("{} {} (ABI {}, backends: {})", program, kVersion, kAbiVersion, IPCQ_BACKENDS);
}

namespace {

// What the environment says of options, which CLI11 does not read: before 2.4 it names the option for a wrong value of
// a variable, since then it passes over the variable. The help names the variables, so the options have them again
// after the parse.
class OptionVariables {
 public:
  explicit OptionVariables(CLI::App& app) {
    collect(app);
    for (const auto& v : all_) {
      v.option->envname("");
      if (v.text() != nullptr) v.option->required(false);
    }
  }
  ~OptionVariables() { put_back(); }
  OptionVariables(const OptionVariables&) = delete;
  OptionVariables& operator=(const OptionVariables&) = delete;

  void put_back() const {
    for (const auto& v : all_) v.option->envname(v.name);
  }
  // After the parse: gives options of the chosen commands that were left out the value of their variable. Only an empty
  // variable counts as none.
  void read() const {
    for (const auto& v : all_) {
      const char* const text = v.text();
      if (v.option->count() != 0 || !v.is_in_use() || text == nullptr) continue;
      v.option->add_result(text);
      try {
        v.option->run_callback();
      } catch (const CLI::ParseError& error) {
        std::string_view why = error.what();
        const std::string prefix = v.option->get_name() + ": ";
        if (why.starts_with(prefix)) why.remove_prefix(prefix.size());
        throw CLI::ValidationError(v.name, std::string(why));
      }
    }
  }

 private:
  struct Variable {
    CLI::App* owner;
    CLI::Option* option;
    std::string name;
    // Null where it is not set, or empty.
    const char* text() const {
      const char* const set = std::getenv(name.c_str());
      return set == nullptr || *set == '\0' ? nullptr : set;
    }
    // A group has no name, and counts as its owner does.
    bool is_in_use() const {
      const CLI::App* app = owner;
      while (app->get_name().empty() && app->get_parent() != nullptr) app = app->get_parent();
      return app->get_parent() == nullptr || app->parsed();
    }
  };
  void collect(CLI::App& app) {
    for (CLI::Option* const option : app.get_options()) {
      if (!option->get_envname().empty()) all_.push_back({&app, option, option->get_envname()});
    }
    for (CLI::App* const sub : app.get_subcommands([](const CLI::App*) { return true; })) collect(*sub);
  }

  std::vector<Variable> all_;
};

// What to say of an option that there is not, wherever CLI11 itself complains of something else first.
std::string unknown_option(const CLI::App& app) {
  for (const auto& rest : app.remaining(true)) {
    if (!rest.starts_with("--") || rest.size() < 3) continue;
    const auto given = rest.substr(2, rest.find('=') - 2);
    std::vector<std::string> names;
    for (const CLI::App* at = &app; at != nullptr;) {
      for (const CLI::Option* option : at->get_options()) {
        const auto& of = option->get_lnames();
        names.insert(names.end(), of.begin(), of.end());
      }
      const auto chosen = at->get_subcommands();
      at = chosen.empty() ? nullptr : chosen.back();
    }
    const auto meant = nearest(given, names);
    return "no option --" + printable(given) + (meant ? "; did you mean --" + *meant + "?\n" : "\n");
  }
  return {};
}

}  // namespace

std::optional<int> CommandLine::parse(int argc, char** argv) {
  app_->failure_message([](const CLI::App* failed, const CLI::Error& error) {
    return CLI::FailureMessage::simple(failed, {error.get_name(), printable(error.what()), error.get_exit_code()});
  });
  const OptionVariables variables(*app_);
  try {
    refuse_empty_values(argc, argv);
    app_->parse(argc, argv);
    variables.read();
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    std::ostringstream text;
    variables.put_back();
    const bool asked = app_->exit(error, text, std::cerr) == 0;  // CLI11's codes for errors are 100 and above
    if (!asked) std::cerr << unknown_option(*app_);
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
