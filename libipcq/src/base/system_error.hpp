// Errors of system calls: each names the object, the call, its cause, and a remedy that follows from the errno.
//
// What helps against a failed call is written down once, in one table of call and errno; docs/design/errors.md is its
// twin, and the unit test holds both to each other and to the call sites.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace ipcq::detail {

// What helps when `call` fails with `code`. An empty `call` stands for every call that has no row of its own for
// `code`. Calls that fail for other reasons at another place have a name of their own there: "shm_open(O_CREAT)".
struct Remedy {
  std::string_view call;
  int code;
  std::string_view sentence;
};

// Rows of one call stand together, those of every call come last.
std::span<const Remedy> remedies() noexcept;

// The sentence for a failed call; empty where nothing helps but to know the errno.
std::string_view remedy_for(std::string_view call, int code) noexcept;

// The limit of this process that `code` says is reached ("process 4711 is limited to 24 open files"). Empty where there
// is none.
std::string shortage_text(std::string_view call, int code);

// Throws the Error that fits `code`: PermissionError for EACCES and EPERM, else SystemError. The text reads
// "<object>: <call> failed: <strerror> (<detail>; <remedy>)", `detail` being what the place knows beyond the errno.
[[noreturn]] void throw_system(int code, const std::string& call, const std::string& object,
                               const std::string& detail = {});

}  // namespace ipcq::detail
