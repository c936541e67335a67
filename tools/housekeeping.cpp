#include "housekeeping.hpp"

#include <ipcq/admin.hpp>
#include <ipcq/error.hpp>

#include <fmt/format.h>
#include <algorithm>

#include "program/exit_code.hpp"
#include "program/format.hpp"
#include "program/logging.hpp"
#include "program/print.hpp"
#include "program/printable.hpp"

namespace ipcq::program {
namespace {

Json to_json(const BrokerEntry& entry) {
  return {{"name", entry.name}, {"socket", entry.socket_path}, {"alive", entry.alive},
          {"pid", entry.pid},   {"segments", entry.segments},  {"segment_bytes", entry.segment_bytes}};
}

// A new broker may have taken the name since the list was made.
bool lives_now(const BrokerEntry& dead) {
  const auto entries = list_brokers();
  return std::any_of(entries.begin(), entries.end(),
                     [&](const BrokerEntry& entry) { return entry.name == dead.name && entry.alive; });
}

}  // namespace

int list_command(bool json) {
  const auto entries = list_brokers();
  if (json) {
    auto array = Json::array();
    for (const auto& entry : entries) array.push_back(to_json(entry));
    print_json(array);
    return kOk;
  }
  if (entries.empty()) {
    log::info("no broker of this user, neither in {} nor in /dev/shm", run_directory());
    return kOk;
  }
  auto text = fmt::format("{:<20} {:<6} {:>8} {:>12} {}\n", "BROKER", "STATE", "PID", "MEMORY", "SOCKET");
  for (const auto& entry : entries) {
    text += fmt::format("{:<20} {:<6} {:>8} {:>12} {}\n", printable(entry.name), entry.alive ? "alive" : "dead",
                        entry.alive ? std::to_string(entry.pid) : "-", human_bytes(entry.segment_bytes),
                        entry.socket_path.empty() ? "elsewhere" : printable(entry.socket_path));
  }
  print(text);
  return kOk;
}

int clean_command(bool dry_run, bool json) {
  auto cleaned = Json::array();
  std::uint64_t bytes = 0;
  int code = kOk;
  for (const auto& entry : list_brokers()) {
    if (entry.alive) continue;
    try {
      if (!dry_run) remove_leftovers(entry);
    } catch (const Error&) {
      if (!lives_now(entry)) code = report_current_exception();
      continue;
    }
    bytes += entry.segment_bytes;
    cleaned.push_back(to_json(entry));
    log::info("{} broker '{}': {} segments, {}", dry_run ? "would remove what is left of" : "removed what was left of",
              entry.name, entry.segments.size(), human_bytes(entry.segment_bytes));
    if (entry.socket_path.empty()) {
      log::info(
          "broker '{}': its socket and lock file, if there are any, are not to be seen here; the next broker "
          "at that path replaces them",
          entry.name);
    }
  }
  if (cleaned.empty() && code == kOk) log::info("nothing to clean");
  if (json) print_json(Json{{"dry_run", dry_run}, {"brokers", cleaned}, {"bytes", bytes}});
  return code;
}

}  // namespace ipcq::program
