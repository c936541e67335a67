// Messages of the programs: spdlog to stderr, coloured on a terminal unless NO_COLOR is set. They never block for
// longer than a moment (stderr_sink.hpp). spdlog takes seconds to compile wherever a message is formatted by it, so
// that messages are handed to logging.cpp with their arguments.
#pragma once

#include <ipcq/options.hpp>
#include <string>

#include <fmt/core.h>

namespace ipcq::program {

void set_up_logging(const std::string& program);
void set_verbose();
void set_quiet();

namespace log {

// Never throws: what cannot be said is said to be so.
void write(LogLevel level, fmt::string_view format, fmt::format_args arguments) noexcept;

template <class... T>
void debug(fmt::format_string<T...> format, const T&... arguments) {
  write(LogLevel::debug, format, fmt::make_format_args(arguments...));
}
template <class... T>
void info(fmt::format_string<T...> format, const T&... arguments) {
  write(LogLevel::info, format, fmt::make_format_args(arguments...));
}
template <class... T>
void warn(fmt::format_string<T...> format, const T&... arguments) {
  write(LogLevel::warning, format, fmt::make_format_args(arguments...));
}
template <class... T>
void error(fmt::format_string<T...> format, const T&... arguments) {
  write(LogLevel::error, format, fmt::make_format_args(arguments...));
}

}  // namespace log

// The library's messages, through the same log.
LogCallback library_log();

}  // namespace ipcq::program
