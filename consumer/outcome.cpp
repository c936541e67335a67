#include "outcome.hpp"

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "common/command_line.hpp"
#include "common/exit_code.hpp"
#include "common/format.hpp"

namespace ipcq::program {
namespace {

using Ending = Receiver::Ending;

bool is_flawless(const Outcome& outcome, const Receiver& receiver) {
  return receiver.bad_bytes() == 0 && outcome.missing == 0 && outcome.repeated == 0;
}

void explain(const Outcome& o) {
  switch (o.ending) {
    case Ending::end:
    case Ending::count:
    case Ending::interrupted:
      return;
    case Ending::reader_gone:
      spdlog::warn("the reader of the output has gone; what it did not take stays in queue '{}'", o.queue);
      return;
    case Ending::timeout:
      spdlog::error("queue '{}': no message came in time", o.queue);
      return;
    case Ending::closed:
      if (o.follow) {
        spdlog::info("broker '{}' closed queue '{}'", o.broker, o.queue);
      } else {
        spdlog::error("broker '{}' closed queue '{}' before the end of the stream", o.broker, o.queue);
      }
      return;
    case Ending::broker_died:
      spdlog::error("broker '{}' died; start it again and run this program anew", o.broker);
      return;
  }
}

}  // namespace

int exit_code(const Outcome& outcome, const Receiver& receiver) {
  if (!is_flawless(outcome, receiver)) return kFailure;
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
      return kFailure;
  }
  return kFailure;
}

void report(const Outcome& o, const Receiver& receiver, bool verified, std::FILE* json) {
  explain(o);
  const double seconds = receiver.seconds();
  // The clock starts at the first message, so that one is not counted in.
  const auto paced = static_cast<double>(receiver.messages() > 1 ? receiver.messages() - 1 : 0);
  const double fps = seconds > 0 ? paced / seconds : 0;
  const double mean_bytes =
      receiver.messages() > 0 ? static_cast<double>(receiver.bytes()) / static_cast<double>(receiver.messages()) : 0;
  const double gb_per_s = fps * mean_bytes / 1e9;
  const auto& latencies = receiver.latencies();
  const double p50_us = latencies.quantile_ns(0.5) / 1e3;
  const double p99_us = latencies.quantile_ns(0.99) / 1e3;

  spdlog::info("queue '{}', group '{}': {} messages, {} in {} ({}/s, {:.2f} GB/s): {}", o.queue, o.group,
               receiver.messages(), human_bytes(receiver.bytes()), human_seconds(seconds), human_rate(fps), gb_per_s,
               to_string(o.ending));
  if (latencies.count() != 0) {
    spdlog::info("from publish to receipt: p50 {:.0f} us, p99 {:.0f} us", p50_us, p99_us);
  }
  if (verified && is_flawless(o, receiver)) {
    spdlog::info("verified: every byte as expected, no message missing, none repeated");
  } else if (verified) {
    spdlog::error("verification failed: {} bad bytes, {} messages missing, {} repeated", receiver.bad_bytes(),
                  o.missing, o.repeated);
  }
  if (json == nullptr) return;
  nlohmann::json object = {{"queue", o.queue},
                           {"group", o.group},
                           {"backend", o.backend},
                           {"wait", o.wait},
                           {"frames", receiver.messages()},
                           {"bytes", receiver.bytes()},
                           {"verified", verified},
                           {"bad_bytes", receiver.bad_bytes()},
                           {"missing", o.missing},
                           {"repeated", o.repeated},
                           {"fps", fps},
                           {"gb_per_s", gb_per_s},
                           {"p50_us", nullptr},
                           {"p99_us", nullptr},
                           {"seconds", seconds},
                           {"status", to_string(o.ending)}};
  if (latencies.count() != 0) {  // messages that travel in their line carry no time
    object["p50_us"] = p50_us;
    object["p99_us"] = p99_us;
  }
  print_json(object, json);
}

}  // namespace ipcq::program
