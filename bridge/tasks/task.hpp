// Task: what came out of Redis to be worked on, its Outcome, and the Room for it. Plain values.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ipcq::bridge {

using Clock = std::chrono::steady_clock;

// Where somebody waits for the answer to one task.
struct ReplyTo {
  std::string kind{};  // "stream", "list", "key" or "channel"; empty: nobody waits
  std::string key{};
};

struct Task {
  std::size_t source = 0;  // place among the engine's sources
  std::string id{};        // of its entry now
  std::string origin{};    // the id that it had first: the caller's name for it
  std::string payload{};
  std::string payload_key{};  // where the payload is to be read first; empty: nowhere
  std::uint32_t attempt = 1;  // this one, counted from 1
  ReplyTo reply_to{};
  Clock::time_point taken{};
};

// What the queue can take.
struct Room {
  std::size_t tasks = 0;
  std::size_t bytes = 0;  // of one payload; 0: there is no queue now
};

enum class Ending : std::uint8_t {
  result,      // it is done
  failed,      // perhaps another time
  refused,     // never: it goes to the dead letters at once
  given_back,  // nobody has worked on it, and it counts as no attempt
};

struct Outcome {
  Task task{};
  Ending ending = Ending::result;
  std::vector<std::string> parts{};  // of the result; none: it has no result
  std::string reason{};              // why there is none
};

}  // namespace ipcq::bridge
