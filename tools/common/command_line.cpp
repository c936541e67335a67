#include "common/command_line.hpp"

#include <cerrno>
#include <cstring>
#include <ipcq/version.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "common/exit_code.hpp"
#include "common/logging.hpp"

namespace ipcq::program {

namespace {

CLI::Validator bounded(const char* description, bool (*accepts)(double)) {
  return CLI::Validator(
      [=](std::string& text) {
        double value = 0;
        const bool good = CLI::detail::lexical_cast(text, value) && accepts(value);
        return good ? std::string{} : fmt::format("'{}' is not {}", text, description);
      },
      "");
}

}  // namespace

CLI::Validator positive() {
  return bounded("a number above 0", [](double value) { return value > 0; });
}
CLI::Validator not_negative() {
  return bounded("a number, 0 or more", [](double value) { return value >= 0; });
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
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    // CLI11 ends with codes of its own from 100 on.
    return app.exit(error) == 0 ? kOk : kUsage;
  }
}

void print_json(const nlohmann::json& object, std::FILE* stream) {
  const std::string line = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (std::fwrite(line.data(), 1, line.size(), stream) != line.size() || std::fflush(stream) != 0) {
    throw Failure(kFailure, fmt::format("cannot write the JSON result: {}", std::strerror(errno)));
  }
}

Duration to_duration(double seconds) {
  constexpr double kYear = 365.0 * 86400;
  if (seconds >= kYear) return std::chrono::hours(365 * 24);
  return Duration(static_cast<Duration::rep>(seconds * 1e9));
}

}  // namespace ipcq::program
