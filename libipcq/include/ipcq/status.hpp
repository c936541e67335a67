// The outcome of a data path call, and the value-or-status type that the calls return. Plain values: an object is for
// one thread at a time.
//
// Xlib has a macro of this name. These headers work before and behind Xlib's and leave it as it is; a source that names
// ipcq::Status itself says `#undef Status` behind the last header of X.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include "ipcq/export.hpp"

#pragma push_macro("Status")  // Xlib's, for int
#undef Status

namespace ipcq {

// Outcome of a call on the data path. Set-up errors throw (error.hpp); these never do.
// clang-format off
enum class Status : std::uint8_t {
  ok = 0,
  full = 1,         // no room, with Backpressure::reject or a zero time-out; or the consumer holds all it may
  empty = 2,        // nothing to receive now, from a call with a zero time-out; of a cuda::Message: not resolved()
  timeout = 3,      // the time-out passed (only from calls with a time-out above zero)
  end = 4,          // the stream has ended: no producer will publish, and no message is left for the group
  closed = 5,       // the broker stopped or lost the queue; or this object is empty, closed, or from before a fork
  peer_dead = 6,    // of a call: the broker died; connect to its successor. Of a cuda::Payload or Header: see there
  interrupted = 7,  // the call would have had to wait, between Session::interrupt() and resume()
  too_large = 8,    // the payload exceeds what one message of this queue can carry
  not_held = 9,     // the loan or message was already published, released, forwarded or given back
  unreachable = 10, // the payload lies in device memory alone, where the CPU can neither read nor write it
  cancelled = 11,   // of a request: its caller does not wait any more
  failed = 12,      // of a call: the server says that it failed (Call::failure_code()). Of a typed consumer: the
                    // message's handler refused it, or failed on it
  no_server = 13,   // of a call that is not to wait for one: no server is attached
  server_died = 14, // of a call: its server has died, has closed, or has let it go, without the last reply
  expired = 15,     // of a call: its deadline has passed
  malformed = 16,   // of a typed endpoint: what came is no value of its type (ipcq/typed.hpp)
};
// clang-format on

// The enumerator's name, such as "peer_dead"; "unknown" for other values.
IPCQ_API std::string_view to_string(Status status) noexcept;

namespace detail {
// Throws StatusError (error.hpp).
[[noreturn]] IPCQ_API void throw_no_value(Status why);
}  // namespace detail

// A T, or the status that says why there is none; used like std::expected. status() is `ok` exactly if there is a T.
// Without one, operator* and -> give an empty T (a loan or message that holds nothing), and value() throws StatusError.
template <class T>
class [[nodiscard]] Result {
  static_assert(std::is_default_constructible_v<T>, "an empty T stands where there is none");

 public:
  using value_type = T;
  using error_type = Status;

  // `why` is not `ok`: that would promise a T.
  Result(Status why) noexcept : status_(why) {}                                // NOLINT(google-explicit-constructor)
  Result(T value) noexcept : value_(std::move(value)), status_(Status::ok) {}  // NOLINT
  // With a T() to be filled in place.
  explicit Result(std::in_place_t) noexcept : status_(Status::ok) {}

  Status status() const noexcept { return status_; }
  Status error() const noexcept { return status_; }
  bool has_value() const noexcept { return status_ == Status::ok; }
  explicit operator bool() const noexcept { return has_value(); }

  T& operator*() & noexcept { return value_; }
  const T& operator*() const& noexcept { return value_; }
  T&& operator*() && noexcept { return std::move(value_); }
  T* operator->() noexcept { return &value_; }
  const T* operator->() const noexcept { return &value_; }

  // Throw StatusError, which carries the status, if there is no T.
  T& value() & {
    check();
    return value_;
  }
  const T& value() const& {
    check();
    return value_;
  }
  T&& value() && {
    check();
    return std::move(value_);
  }

 private:
  void check() const {
    if (!has_value()) detail::throw_no_value(status_);
  }

  T value_{};
  Status status_;
};

// Result of a batched call: the first `count` items were done, then `status` ended the call. ok: none failed.
struct [[nodiscard]] BatchResult {
  Status status = Status::ok;
  std::size_t count = 0;
};

}  // namespace ipcq

#pragma pop_macro("Status")
