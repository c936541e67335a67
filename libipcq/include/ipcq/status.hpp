// What a hot-path call came to, and the value-or-status type that the calls return.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "ipcq/export.hpp"

namespace ipcq {

// Outcome of a call on the data path. Set-up errors throw (error.hpp); these never do.
// clang-format off
enum class [[nodiscard]] Status : std::uint8_t {
  ok,
  full,         // no room: the policy is to reject or the time-out zero; or a consumer holds all it may
  empty,        // nothing to receive now (only from calls with a zero time-out)
  timeout,      // the deadline passed while waiting
  end,          // every producer has closed cleanly and the group has taken everything
  closed,       // the broker closed the queue (graceful stop or removal)
  peer_dead,    // from a call: the broker died; reconnect to its successor. In a cuda::Header: see there
  interrupted,  // Session::interrupt() was called
  too_large,    // the payload exceeds what one message of this queue can carry
  not_held,     // the loan or message was already published, released, forwarded or given back
};
// clang-format on

IPCQ_API std::string_view to_string(Status status) noexcept;

// A T, or the status that says why there is none. `status()` is `ok` exactly when a T is there.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(Status why) noexcept : status_(why) {}                                // NOLINT(google-explicit-constructor)
  Result(T value) noexcept : value_(std::move(value)), status_(Status::ok) {}  // NOLINT
  // With a T() to be filled in place.
  explicit Result(std::in_place_t) noexcept : value_(std::in_place), status_(Status::ok) {}

  Status status() const noexcept { return status_; }
  explicit operator bool() const noexcept { return value_.has_value(); }
  T& operator*() & noexcept { return *value_; }
  T&& operator*() && noexcept { return std::move(*value_); }
  T* operator->() noexcept { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

// How far a batched call came: `count` items were done before `status` stopped it (ok: all of them).
struct [[nodiscard]] BatchResult {
  Status status = Status::ok;
  std::size_t count = 0;
};

}  // namespace ipcq
