#include "program/logging.hpp"

#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <spdlog/details/os.h>
#include <spdlog/spdlog.h>

#include "program/stderr_sink.hpp"

namespace ipcq::program {

void set_up_logging(const std::string& program) {
  const char* no_color = std::getenv("NO_COLOR");
  const bool coloured = (no_color == nullptr || *no_color == '\0') && ::isatty(STDERR_FILENO) == 1 &&
                        spdlog::details::os::is_color_terminal();
  auto logger =
      std::make_shared<spdlog::logger>(program, std::make_shared<StderrSink>(descriptor_sink(STDERR_FILENO, coloured)));
  logger->set_pattern("%n: %^%l%$: %v");
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

void set_verbose() { spdlog::set_level(spdlog::level::debug); }
void set_quiet() { spdlog::set_level(spdlog::level::warn); }

namespace log {
namespace {

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

void write(LogLevel level, fmt::string_view format, fmt::format_args arguments) noexcept {
  auto* const logger = spdlog::default_logger_raw();
  if (!logger->should_log(level_of(level))) return;
  try {
    const std::string text = fmt::vformat(format, arguments);
    logger->log(level_of(level), spdlog::string_view_t(text));
  } catch (const std::exception& error) {
    logger->log(spdlog::level::err, spdlog::string_view_t(error.what()));
  }
}

}  // namespace log

LogCallback library_log() {
  return [](LogLevel level, std::string_view text) { log::write(level, "{}", fmt::make_format_args(text)); };
}

}  // namespace ipcq::program
