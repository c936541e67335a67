// The programs' log: spdlog to stderr, coloured on a terminal unless NO_COLOR is set. A message blocks for 200 ms at
// most (stderr_sink.hpp). Formatting by spdlog takes seconds to compile, so only logging.cpp does it, from the
// message's arguments. Thread-safe once set_up_logging() has returned.
#pragma once

#include <ipcq/log.hpp>
#include <string>

#include <fmt/core.h>

namespace ipcq::program {

void set_up_logging(const std::string& program);
void set_verbose();
void set_quiet();

namespace log {

// A message that cannot be formatted is replaced by one that says so.
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

// A callback that puts the library's messages into this log.
LogCallback library_log();

}  // namespace ipcq::program
