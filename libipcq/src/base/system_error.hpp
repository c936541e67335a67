// Errors of system calls: each names the object, the call, the cause, and a remedy that follows from the errno.
//
// The remedies stand in one table, by call and errno. docs/design/errors.md is its twin; the unit test compares both
// with each other and with the call sites. Thread-safe: the table is constant.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace ipcq::detail {

// The remedy when `call` fails with `code`. An empty `call` stands for every call without a row of its own for `code`.
// A call whose errnos have other causes at some call sites has a name of its own there: "shm_open(O_CREAT)".
struct Remedy {
  std::string_view call;
  int code;
  std::string_view sentence;
};

// The rows of one call stand together; those with an empty `call` come last, as remedy_for() takes the first match.
std::span<const Remedy> remedies() noexcept;

// The remedy's sentence; empty where the table has none.
std::string_view remedy_for(std::string_view call, int code) noexcept;

// The limit of this process that the failed call has reached: "process 4711 is limited to 24 open files". Empty where
// `code` does not mean a limit, or none is set.
std::string shortage_text(std::string_view call, int code);

// Throws the Error that fits `code`: PermissionError for EACCES and EPERM, else SystemError. The text reads
// "<object>: <call> failed: <strerror> (<detail>; <limit>; <remedy>)"; `detail` is what the call site knows beyond the
// errno. Parts that are empty are left out.
[[noreturn]] void throw_system(int code, const std::string& call, const std::string& object,
                               const std::string& detail = {});

}  // namespace ipcq::detail
