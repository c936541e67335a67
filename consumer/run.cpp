#include "run.hpp"

namespace ipcq::program {

std::string_view to_string(Ending ending) noexcept {
  switch (ending) {
    case Ending::end:
      return "end";
    case Ending::count:
      return "count";
    case Ending::reader_gone:
      return "reader_gone";
    case Ending::interrupted:
      return "interrupted";
    case Ending::timeout:
      return "timeout";
    case Ending::closed:
      return "closed";
    case Ending::broker_died:
      return "broker_died";
    case Ending::error:
      return "error";
  }
  return "?";
}

std::optional<Ending> ending_of(Status status) noexcept {
  switch (status) {
    case Status::end:
      return Ending::end;
    case Status::timeout:
    case Status::empty:
      return Ending::timeout;
    case Status::interrupted:
      return Ending::interrupted;
    case Status::peer_dead:
      return Ending::broker_died;
    case Status::closed:
      return Ending::closed;
    case Status::ok:
    case Status::full:  // holds all that it may: on a GPU streams will release some; on the CPU this cannot happen
    case Status::too_large:
    case Status::not_held:
    case Status::unreachable:
    case Status::cancelled:  // these five are of calls
    case Status::failed:
    case Status::no_server:
    case Status::server_died:
    case Status::expired:
    case Status::malformed:  // of typed endpoints
      return std::nullopt;
  }
  return std::nullopt;
}

std::uint64_t since_epoch_ns(std::chrono::steady_clock::time_point time) noexcept {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(time.time_since_epoch()).count());
}

void record_latency(LatencyHistogram& into, std::uint64_t published_at_ns, std::uint64_t now_ns) noexcept {
  if (published_at_ns != 0) into.record(now_ns > published_at_ns ? now_ns - published_at_ns : 0);
}

}  // namespace ipcq::program
