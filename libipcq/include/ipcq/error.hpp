// Exceptions of set-up code. Each message names the object, the cause and the remedy.
#pragma once

#include <stdexcept>
#include <string>

#include "ipcq/export.hpp"

namespace ipcq {

// Root of the family: catch this to catch everything libipcq throws.
class IPCQ_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The caller asked for something that can never work (bad option, use after fork, unknown handler).
class IPCQ_API UsageError : public Error {
 public:
  using Error::Error;
};

// No broker of that name answers, or it has no such queue. Tools exit with 3.
class IPCQ_API NotFoundError : public Error {
 public:
  using Error::Error;
};

// The system or the broker refused access. Tools exit with 5.
class IPCQ_API PermissionError : public Error {
 public:
  using Error::Error;
};

// The backend asked for cannot run here (no GPU, no driver, not built in). Tools exit with 6.
class IPCQ_API BackendError : public Error {
 public:
  using Error::Error;
};

// A shared segment is not what it should be: wrong ABI version, truncated or damaged.
class IPCQ_API LayoutError : public Error {
 public:
  using Error::Error;
};

// A system call failed. `code()` is its errno.
class IPCQ_API SystemError : public Error {
 public:
  SystemError(int code, const std::string& what) : Error(what), code_(code) {}
  int code() const noexcept { return code_; }

 private:
  int code_;
};

// The data path stopped where a call that has no status to return must say so (range-for over a consumer).
class IPCQ_API ClosedError : public Error {
 public:
  using Error::Error;
};

}  // namespace ipcq
