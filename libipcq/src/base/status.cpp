#include "ipcq/status.hpp"

#include "ipcq/error.hpp"
#include "ipcq/options.hpp"
#include "ipcq/wait.hpp"

namespace ipcq {

std::string_view to_string(Status status) noexcept {
  switch (status) {
    case Status::ok:
      return "ok";
    case Status::full:
      return "full";
    case Status::empty:
      return "empty";
    case Status::timeout:
      return "timeout";
    case Status::end:
      return "end";
    case Status::closed:
      return "closed";
    case Status::peer_dead:
      return "peer_dead";
    case Status::interrupted:
      return "interrupted";
    case Status::too_large:
      return "too_large";
    case Status::not_held:
      return "not_held";
    case Status::unreachable:
      return "unreachable";
    case Status::cancelled:
      return "cancelled";
    case Status::failed:
      return "failed";
    case Status::no_server:
      return "no_server";
    case Status::malformed:
      return "malformed";
    case Status::server_died:
      return "server_died";
    case Status::expired:
      return "expired";
  }
  return "unknown";
}

namespace detail {

void throw_no_value(Status why) {
  throw StatusError(why, "ipcq::Result: there is no value, the call came to " + std::string(to_string(why)));
}

}  // namespace detail

std::string_view to_string(Wait::Kind kind) noexcept {
  switch (kind) {
    case Wait::Kind::spin:
      return "spin";
    case Wait::Kind::hybrid:
      return "hybrid";
    case Wait::Kind::sleep:
      return "sleep";
  }
  return "unknown";
}

std::string_view to_string(OnServerDeath what) noexcept {
  switch (what) {
    case OnServerDeath::fail:
      return "fail";
    case OnServerDeath::redeliver:
      return "redeliver";
  }
  return "unknown";
}

std::string_view to_string(Backpressure backpressure) noexcept {
  switch (backpressure) {
    case Backpressure::block:
      return "block";
    case Backpressure::reject:
      return "reject";
    case Backpressure::drop_oldest:
      return "drop-oldest";
  }
  return "unknown";
}

std::string_view to_string(Batch batch) noexcept {
  switch (batch) {
    case Batch::messages:
      return "messages";
    case Batch::records:
      return "records";
  }
  return "unknown";
}

std::string_view to_string(ExecutorKind kind) noexcept {
  switch (kind) {
    case ExecutorKind::auto_:
      return "auto";
    case ExecutorKind::persistent:
      return "persistent";
    case ExecutorKind::stream:
      return "stream";
  }
  return "unknown";
}

Wait parse_wait(std::string_view text) {
  for (const Wait wait : {Wait::spin(), Wait::hybrid(), Wait::sleep()}) {
    if (to_string(wait.kind()) == text) return wait;
  }
  throw UsageError("wait strategy '" + std::string(text) + "': use spin, hybrid or sleep");
}

}  // namespace ipcq
