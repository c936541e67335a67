#include "common/logging.hpp"

#include <cstdlib>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace ipcq::program {

void set_up_logging(const std::string& program) {
  const char* no_color = std::getenv("NO_COLOR");
  const auto colour =
      no_color != nullptr && *no_color != '\0' ? spdlog::color_mode::never : spdlog::color_mode::automatic;
  auto logger = spdlog::stderr_color_mt(program, colour);
  logger->set_pattern("%n: %^%l%$: %v");
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

void set_verbose() { spdlog::set_level(spdlog::level::debug); }
void set_quiet() { spdlog::set_level(spdlog::level::warn); }

LogCallback library_log() {
  return [](LogLevel level, std::string_view text) {
    switch (level) {
      case LogLevel::debug:
        spdlog::debug("{}", text);
        return;
      case LogLevel::info:
        spdlog::info("{}", text);
        return;
      case LogLevel::warning:
        spdlog::warn("{}", text);
        return;
      case LogLevel::error:
        spdlog::error("{}", text);
        return;
    }
  };
}

}  // namespace ipcq::program
