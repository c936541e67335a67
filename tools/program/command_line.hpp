// The command lines of all programs: options, --version, --verbose, --quiet, and parsing with the common exit codes.
// Names and meaning are CLI11's, which only command_line.cpp includes, since it takes seconds to compile.
//
// For the main thread. Options, groups and commands refer to their CommandLine and must not outlive it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <ipcq/wait.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {  // NOLINT(readability-identifier-naming): it is that of the library
class App;
class Option;
}  // namespace CLI

namespace ipcq::program {

// A rule for the value of an option.
struct ValueRule {
  // Returns what is wrong with the text, or an empty string. May change the text to another spelling.
  std::function<std::string(std::string&)> apply;
  std::vector<std::string> one_of;  // if not empty, used instead of `apply`: the values that are allowed, as in --help
};

// For options that are numbers, with transform(): CLI11 itself takes 010 for eight, and wraps numbers that are too
// large. An error says what is allowed.
ValueRule whole_number(std::uint64_t low, std::uint64_t high = UINT64_MAX);
ValueRule positive();
ValueRule not_negative();

// For options that are texts, with check(). Empty texts are refused: they usually come from a shell variable that is
// not set, and leaving the option out means something else.
ValueRule not_empty();
// The name of a queue or a group, by the library's rule. So a name that no object can have is a usage error, and not
// one of an object that does not exist.
ValueRule object_name();
ValueRule one_of(std::vector<std::string> words);

// One option, which its command line owns. Each function changes it and returns it.
class CommandOption {
 public:
  explicit CommandOption(CLI::Option* option) : option_(option) {}

  CommandOption& check(const ValueRule& rule);      // the text stays as it is
  CommandOption& transform(const ValueRule& rule);  // the text becomes what the rule makes of it
  CommandOption& required();
  CommandOption& excludes(const CommandOption& other);
  CommandOption& environment(const char* variable);
  CommandOption& show_default();
  CommandOption& one_value_each();  // an option that may be repeated takes one value each time

 private:
  CLI::Option* option_;
};

// A command line, a group of its options, or one of its commands. parse() writes the variables of the options that are
// given; the others keep their values.
class CommandLine {
 public:
  explicit CommandLine(const std::string& purpose);
  ~CommandLine();
  CommandLine(CommandLine&&) noexcept;
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(CommandLine&&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // `names`: "--long,-s"; or "NAME" for a positional argument.
  CommandOption add_option(const std::string& names, std::string& value, const std::string& help);
  CommandOption add_option(const std::string& names, std::optional<std::string>& value, const std::string& help);
  CommandOption add_option(const std::string& names, std::vector<std::string>& values, const std::string& help);
  CommandOption add_option(const std::string& names, int& value, const std::string& help);
  CommandOption add_option(const std::string& names, std::optional<int>& value, const std::string& help);
  CommandOption add_option(const std::string& names, std::uint64_t& value, const std::string& help);
  CommandOption add_option(const std::string& names, double& value, const std::string& help);
  CommandOption add_option(const std::string& names, std::optional<double>& value, const std::string& help);
  CommandOption add_flag(const std::string& names, bool& value, const std::string& help);
  // --version, --verbose and --quiet.
  void add_common_options(const std::string& program);

  CommandLine add_group(const std::string& name, const std::string& help);
  void require_one();  // exactly one of the group's options must be given
  CommandLine add_command(const std::string& name, const std::string& help);
  void require_command();
  bool is_chosen() const;  // after parse(): whether this command was given

  // Returns an exit code if the program must end now: 0 after --help and --version, 2 after a usage error.
  std::optional<int> parse(int argc, char** argv);

 private:
  explicit CommandLine(CLI::App* app);

  std::unique_ptr<CLI::App> owned_;
  CLI::App* app_;
};

// "ipcq-broker 0.1.0 (ABI 1, backends: host, cuda)", with the backends of this build.
std::string version_line(const std::string& program);

Duration to_duration(double seconds);

}  // namespace ipcq::program
