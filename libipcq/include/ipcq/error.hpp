// Exceptions of set-up code. Each message names the object, the cause and the remedy.
#pragma once

#include <stdexcept>
#include <string>

#include "ipcq/export.hpp"
#include "ipcq/status.hpp"

#pragma push_macro("Status")  // Xlib's, for int
#undef Status

namespace ipcq {

// Root of the family: catch this to catch everything libipcq throws.
class IPCQ_API Error : public std::runtime_error {
 public:
  // A zero byte in `what` is replaced by the text \x00, because what() would end there.
  explicit Error(const std::string& what);
};

// The caller asked for something that cannot work: never (bad option, use after fork, unknown handler), or not as
// things are (a name that is taken, a queue that is to be removed and is in use, a limit that is reached).
class IPCQ_API UsageError : public Error {
 public:
  using Error::Error;
};

// No broker of that name answers, or it has no such queue, pool or group; a handler's or a state's file is not there.
// Tools exit with 3.
class IPCQ_API NotFoundError : public Error {
 public:
  using Error::Error;
};

// The system or the broker refused access. Tools exit with 5.
class IPCQ_API PermissionError : public Error {
 public:
  using Error::Error;
};

// The backend asked for cannot run here (no GPU, no driver, not built in), its runner has ended, or a handler does not
// return, for which a pause or a change waits. Tools exit with 6.
class IPCQ_API BackendError : public Error {
 public:
  using Error::Error;
};

// A shared segment is not what it should be: wrong ABI version, truncated or damaged.
class IPCQ_API LayoutError : public Error {
 public:
  using Error::Error;
};

// A system call failed; code() is its errno. Also a broker that does not answer in time (ETIMEDOUT), has closed the
// connection (ECONNRESET), or lacks memory or descriptors (ENOBUFS).
class IPCQ_API SystemError : public Error {
 public:
  SystemError(int code, const std::string& what) : Error(what), code_(code) {}
  int code() const noexcept { return code_; }

 private:
  int code_;
};

// A data path call had a status other than ok and could not return it: Result::value().
class IPCQ_API StatusError : public Error {
 public:
  StatusError(Status status, const std::string& what) : Error(what), status_(status) {}
  Status status() const noexcept { return status_; }

 private:
  Status status_;
};

// A range over a consumer stopped before the end of the stream. status(): closed, peer_dead, interrupted, full (the
// consumer holds QueueOptions::held messages); of a typed one also malformed, failed and unreachable.
class IPCQ_API ClosedError : public StatusError {
 public:
  using StatusError::StatusError;
};

}  // namespace ipcq

#pragma pop_macro("Status")
