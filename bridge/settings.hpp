// Settings: what a bridge is to do, checked. Plain values.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "redis/address.hpp"

namespace ipcq::bridge {

class PayloadTemplate;

using Milliseconds = std::chrono::milliseconds;

// What tasks come out of. All sources of a bridge are of one kind.
enum class Kind : std::uint8_t { stream, list, sorted_set };
constexpr std::string_view kind_name(Kind kind) noexcept {
  if (kind == Kind::stream) return "stream";
  return kind == Kind::list ? "list" : "sorted-set";
}

struct Source {
  std::string name{};
  int priority = 0;  // those of higher ones first
  int weight = 1;    // among those of one priority
  // Of a list: "left" or "right", the end from which tasks are taken. Of a sorted set: "least", the least score first;
  // "due", scores are times in ms since 1970, and tasks are taken when theirs has come.
  std::string from{};
};

// Where results go.
struct Results {
  std::string kind = "stream";  // "stream", "list", "channel", "key" or "none"
  std::string key{};            // of kind "key": what stands before the task's id
};

// Of the side towards Redis.
struct EngineSettings {
  Address address{};
  Kind kind = Kind::stream;
  std::vector<Source> sources{};
  std::string group = "ipcq";
  std::string consumer{};
  bool is_named = false;  // the consumer's name was given, and might be another bridge's
  Results results{};
  std::string field = "payload";                              // the field of an entry that holds the payload
  std::shared_ptr<const PayloadTemplate> payload_template{};  // or what makes it of several
  std::size_t inline_result = 64U << 10;  // bytes; a larger result in a stream stands in a key of its own
  std::size_t batch = 128;                // tasks read, and outcomes written, at once at most
  std::uint32_t attempts = 5;
  Milliseconds backoff{1000}, longest_backoff{60'000};
  Milliseconds claim_after{30'000};  // a task not renewed for so long is taken over
  Milliseconds poll{250};            // how often delayed tasks are looked at
  Milliseconds stay{3'600'000};      // of results that are keys, and of replies
  double rate = 0;                   // tasks a second of all bridges together; 0: no limit
  std::uint64_t burst = 0;
  bool trim = false;
  Milliseconds keep{0};         // of entries that are trimmed
  Milliseconds patience{5000};  // with the server
  bool until_dry = false;       // the bridge is to end when nothing is left: look for it
  bool measure = false;         // ask now and then how many tasks there are
};

// Of all its sources, with `between` between them.
inline std::string source_names(const EngineSettings& settings, std::string_view between) {
  std::string all;
  for (const auto& source : settings.sources) {
    if (!all.empty()) all += between;
    all += source.name;
  }
  return all;
}

// Of the side towards the queue.
struct WorkSettings {
  std::string broker{};
  std::string queue{};
  std::string wait = "hybrid";
  double wait_for = 5;        // s, at the start
  std::size_t in_flight = 0;  // 0: as many as the queue takes
  std::size_t reply_bytes = 0;
  double deadline = 0;  // s; 0: none
};

}  // namespace ipcq::bridge
