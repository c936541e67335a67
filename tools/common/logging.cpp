#include "common/logging.hpp"

#include <unistd.h>

#include <cstdlib>
#include <memory>

#include <spdlog/details/os.h>
#include <spdlog/spdlog.h>

#include "common/stderr_sink.hpp"

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
