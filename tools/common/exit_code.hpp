// Exit codes of all programs, and the one place where exceptions become them.
#pragma once

#include <functional>
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

// An error of a program that knows its own exit code.
class Failure : public std::runtime_error {
 public:
  Failure(int code, const std::string& what) : std::runtime_error(what), code_(code) {}
  int code() const noexcept { return code_; }

 private:
  int code_;
};

// The code of the exception being handled; logs its text.
int report_current_exception() noexcept;

// Runs the body of a program and turns whatever it throws into a message on stderr and an exit code. A standard output
// that has not taken everything is an error too, of which the body need not know.
int run_guarded(const std::function<int()>& body) noexcept;

}  // namespace ipcq::program
