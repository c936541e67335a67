#include "outcome.hpp"

#include <utility>

#include <fmt/format.h>

#include "program/exit_code.hpp"
#include "program/format.hpp"
#include "program/logging.hpp"
#include "program/print.hpp"

namespace ipcq::program {
namespace {

bool is_flawless(const Outcome& outcome, const Tally& tally) {
  return tally.bad_bytes == 0 && outcome.missing == 0 && outcome.repeated == 0;
}

void explain(const Outcome& o) {
  switch (o.ending) {
    case Ending::end:
    case Ending::count:
    case Ending::interrupted:
    case Ending::error:  // logged where it happened
      return;
    case Ending::reader_gone:
      log::warn("the reader of the output has gone; what it did not take stays in queue '{}'", o.queue);
      return;
    case Ending::timeout:
      log::error("queue '{}': no message came in time", o.queue);
      return;
    case Ending::closed:
      if (o.follow) {
        log::info("broker '{}' closed queue '{}'", o.broker, o.queue);
      } else {
        log::error("broker '{}' closed queue '{}' before the end of the stream", o.broker, o.queue);
      }
      return;
    case Ending::broker_died:
      log::error("broker '{}' died; start it again and run this program anew", o.broker);
      return;
  }
}

void say_latency(const char* what, const LatencyHistogram& latencies) {
  if (latencies.count() == 0) return;
  log::info("{}: p50 {:.0f} us, p99 {:.0f} us", what, latencies.quantile_ns(0.5) / 1e3,
            latencies.quantile_ns(0.99) / 1e3);
}

// Null without samples: inline messages carry no time, and `checked` is measured on a GPU only.
void add_latency(Json& object, const std::string& prefix, const LatencyHistogram& latencies) {
  const bool any = latencies.count() != 0;
  for (const auto& [name, quantile] : {std::pair{"p50_us", 0.5}, std::pair{"p99_us", 0.99}}) {
    object.set(prefix + name, any ? Json(latencies.quantile_ns(quantile) / 1e3) : Json());
  }
}

}  // namespace

int exit_code(const Outcome& outcome, const Tally& tally) {
  if (!is_flawless(outcome, tally)) return kFailure;
  switch (outcome.ending) {
    case Ending::end:
    case Ending::count:
    case Ending::reader_gone:
    case Ending::interrupted:
      return kOk;
    case Ending::timeout:
      return kTimeout;
    case Ending::closed:
      return outcome.follow ? kOk : kFailure;
    case Ending::broker_died:
    case Ending::error:
      return kFailure;
  }
  return kFailure;
}

void report(const Outcome& o, const Tally& tally, bool verified, std::optional<int> json) {
  explain(o);
  const double seconds = tally.seconds();
  // The time runs from the first message on, so a rate does not count that one.
  const auto paced = static_cast<double>(tally.messages > 1 ? tally.messages - 1 : 0);
  const double fps = seconds > 0 ? paced / seconds : 0;
  const double mean_bytes =
      tally.messages > 0 ? static_cast<double>(tally.bytes) / static_cast<double>(tally.messages) : 0;
  const double gb_per_s = fps * mean_bytes / 1e9;

  log::info("queue '{}', group '{}': {} messages, {} in {} ({}/s, {:.2f} GB/s): {}", o.queue, o.group, tally.messages,
            human_bytes(tally.bytes), human_seconds(seconds), human_rate(fps), gb_per_s, to_string(o.ending));
  say_latency("from publish to receipt", tally.received);
  say_latency(verified ? "from publish to the end of the check" : "from publish to the payload", tally.checked);
  if (tally.lost != 0) {
    log::warn("{} messages came to nothing: their producer died before its GPU had written them", tally.lost);
  }
  if (verified && tally.messages == 0) {
    log::warn("verified nothing: no message came");
  } else if (verified && is_flawless(o, tally)) {
    log::info("verified{}: every byte as expected, no message missing, none repeated",
              o.gpu ? fmt::format(" on GPU {}", *o.gpu) : "");
  } else if (verified) {
    log::error("verification failed: {} bad bytes, {} messages missing, {} repeated", tally.bad_bytes, o.missing,
               o.repeated);
  }
  if (!json) return;
  Json object = {{"queue", o.queue},
                 {"group", o.group},
                 {"backend", o.backend},
                 {"executor", o.executor},
                 {"gpu", nullptr},
                 {"wait", o.wait},
                 {"frames", tally.messages},
                 {"bytes", tally.bytes},
                 {"verified", verified},
                 {"bad_bytes", tally.bad_bytes},
                 {"missing", o.missing},
                 {"repeated", o.repeated},
                 {"lost", tally.lost},
                 {"returned", tally.returned},
                 {"fps", fps},
                 {"gb_per_s", gb_per_s},
                 {"seconds", seconds},
                 {"status", to_string(o.ending)}};
  if (o.gpu) object.set("gpu", *o.gpu);
  add_latency(object, "", tally.received);
  add_latency(object, "checked_", tally.checked);
  print_json(object, *json);
}

}  // namespace ipcq::program
