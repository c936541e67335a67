// The exit codes of all programs, and the one place where exceptions become exit codes.
#pragma once

#include <stdexcept>
#include <string>

namespace ipcq::program {

inline constexpr int kOk = 0;
inline constexpr int kFailure = 1;
inline constexpr int kUsage = 2;
inline constexpr int kNotFound = 3;  // no broker or queue
inline constexpr int kTimeout = 4;   // time-out or empty
inline constexpr int kPermission = 5;
inline constexpr int kBackend = 6;  // backend unavailable

// An error with an exit code of its own.
class Failure : public std::runtime_error {
 public:
  Failure(int code, const std::string& what) : std::runtime_error(what), code_(code) {}
  int code() const noexcept { return code_; }

 private:
  int code_;
};

// Logs the text of the exception that is being handled, and returns its exit code.
int report_current_exception() noexcept;

}  // namespace ipcq::program
