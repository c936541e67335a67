// What all command lines share: options, --version, --verbose, --quiet, parsing with the common exit codes. CLI11 takes
// seconds to compile wherever it is included, so that only command_line.cpp does; names and meaning are CLI11's.
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

// What may stand as the value of an option.
struct ValueRule {
  // Says what is wrong with the text, or nothing; may write it in another spelling.
  std::function<std::string(std::string&)> apply;
  std::vector<std::string> one_of;  // used instead, where it is not empty; --help names them
};

// Options that are numbers pass one of these, by transform(): CLI11 itself takes 010 for eight and wraps what is too
// large. Errors say what may stand there.
ValueRule whole_number(std::uint64_t low, std::uint64_t high = UINT64_MAX);
ValueRule positive();
ValueRule not_negative();

// Options that are texts pass one of these, by check(). An empty one is a variable of the shell that is not set, and to
// leave the option out means something else.
ValueRule not_empty();
// Of a queue or a group: as the library takes them. One that cannot be is no name of an object that is not there.
ValueRule object_name();
ValueRule one_of(std::vector<std::string> words);

// One option of a command line, which owns it. Each function changes it and returns it.
class CommandOption {
 public:
  explicit CommandOption(CLI::Option* option) : option_(option) {}

  CommandOption& check(const ValueRule& rule);      // the text stays as it is
  CommandOption& transform(const ValueRule& rule);  // the text becomes what the rule makes of it
  CommandOption& required();
  CommandOption& excludes(const CommandOption& other);
  CommandOption& environment(const char* variable);
  CommandOption& show_default();
  CommandOption& one_value_each();  // where it may be repeated

 private:
  CLI::Option* option_;
};

// A command line, a group of its options or one of its commands; the latter two belong to the first, and must not
// outlive it. Variables that options name are written by parse(), and keep their values without the option.
class CommandLine {
 public:
  explicit CommandLine(const std::string& purpose);
  ~CommandLine();
  CommandLine(CommandLine&&) noexcept;
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(CommandLine&&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // `names`: "--long,-s", or "NAME" of what stands without a name.
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
  void require_one();  // of the group's options
  CommandLine add_command(const std::string& name, const std::string& help);
  void require_command();
  bool is_chosen() const;  // after parse(): this command is the one

  // An exit code when the program is to end now (0 after --help and --version, 2 on a usage error).
  std::optional<int> parse(int argc, char** argv);

 private:
  explicit CommandLine(CLI::App* app);

  std::unique_ptr<CLI::App> owned_;
  CLI::App* app_;
};

// "ipcq-broker 0.1.0 (ABI 1, backends: host, cuda)": those that this build has
std::string version_line(const std::string& program);

Duration to_duration(double seconds);

}  // namespace ipcq::program
