#include "broker/broker_list.hpp"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/broker_place.hpp"
#include "broker/broker_record.hpp"
#include "ipcq/error.hpp"
#include "queue/segment.hpp"

namespace ipcq {
namespace detail {
namespace {

// Names of which a socket or a lock file lies in the run directory.
std::vector<std::string> names_in_run_directory() {
  std::vector<std::string> names;
  const std::string directory = canonical_run_directory();
  DIR* const dir = directory.empty() ? nullptr : ::opendir(directory.c_str());
  if (dir == nullptr) return names;
  while (const dirent* file = ::readdir(dir)) {
    std::string path = directory + "/" + file->d_name;
    const std::string suffix = BrokerPlace::kLockSuffix;
    if (path.size() > suffix.size() && path.compare(path.size() - suffix.size(), suffix.size(), suffix) == 0) {
      path.resize(path.size() - suffix.size());
    }
    const std::string name = name_in(directory, path);
    if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  ::closedir(dir);
  return names;
}

// A socket of this user's, which may be a broker's.
bool has_socket(const BrokerPlace& place) {
  const auto socket = place.status_of(place.socket_file());
  return socket && S_ISSOCK(socket->st_mode) && socket->st_uid == geteuid();
}

// Whether the record's path leads to its broker from here.
bool is_here(const FoundRecord& record) {
  try {
    return is_at(record, BrokerPlace(record.socket_path, BrokerPlace::Use::look));
  } catch (const Error&) {  // its directory is not here, or not any more
    return false;
  }
}

// Removes the segments of a tag, and leaves its records. Throws UsageError when a broker of it lives. Needs no lock: a
// broker creates its record before its segments, so one whose segment is listed here shows up in the records, which are
// read later.
std::vector<FoundRecord> remove_segments_of(const std::string& tag, const std::string& name) {
  auto named = find_segments_of(tag);
  auto records = find_records();
  std::erase_if(records, [&](const auto& r) { return r.tag != tag; });
  const auto segments = only_brokers(std::move(named), records);
  const bool lives = std::any_of(records.begin(), records.end(), [](const auto& r) { return r.alive; }) ||
                     owner_without_record(tag, segments, records);
  if (lives) throw UsageError("broker '" + printable(name) + "': is alive; stop it first");
  for (const auto& s : segments) unlink_segment(s.name);
  return records;
}

void remove_dead(const std::vector<FoundRecord>& records) noexcept {
  for (const auto& r : records) remove_dead(r);
}

void remove_leftovers_at(const BrokerPlace& place) {
  try {
    std::string removed;
    take_over(place, removed).remove();
  } catch (const Obstacle& obstacle) {
    const auto records = remove_segments_of(place.tag(), place.name());
    if (read_lock_state(place).is_ours) BrokerLock(place).remove();
    // A broker's socket that nobody serves is left, and with it the records, which say whose it is.
    const bool is_left = has_socket(place) && listener_at(place).kind == Listener::Kind::nobody;
    if (is_left) throw UsageError(obstacle.to_cleaner());
    remove_dead(records);
  }
}

}  // namespace

BrokerList::BrokerList() {
  // A broker that starts after this is known by its lock file, or by the lock on its segments.
  const auto records = find_records();
  add_run_directory();
  add_records(records);
  add_segments(records);
}

std::vector<BrokerEntry> BrokerList::take() && {
  std::vector<BrokerEntry> entries;
  for (auto& [tag, f] : found_) {
    judge_listener(f);
    entries.push_back(std::move(f.entry));
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return entries;
}

// Fills `found` with what lies at a place. False: no broker of this user left anything there.
bool BrokerList::read_place(const BrokerPlace& place, Found& found) {
  const LockState lock = read_lock_state(place);
  const bool serves = !lock.held && has_socket(place);
  if (serves) found.listener = listener_at(place);
  if (!lock.is_ours && (!serves || found.listener.kind == Listener::Kind::no_broker)) return false;
  found.entry.socket_path = place.socket_path();
  found.entry.alive = lock.held;
  found.entry.pid = lock.held ? lock.pid : 0;
  found.has_died = lock.is_ours && !lock.held;
  return true;
}

void BrokerList::add_run_directory() {
  for (const auto& name : names_in_run_directory()) {
    try {
      const BrokerPlace place(name, BrokerPlace::Use::look);
      Found found;
      found.entry.name = name;
      if (read_place(place, found)) found_.emplace(place.tag(), found);
    } catch (const UsageError&) {  // a file that cannot be a broker's: its path is too long
    }
  }
}

void BrokerList::add_records(const std::vector<FoundRecord>& records) {
  const std::string run = canonical_run_directory();
  for (const auto& record : records) {
    if (record.socket_path.empty()) continue;
    Found& found = found_[record.tag];
    found.has_died = found.has_died || !record.alive;
    BrokerEntry& entry = found.entry;
    if (entry.name.empty()) {
      entry.name = name_in(run, record.socket_path);
      if (entry.name.empty()) entry.name = record.socket_path;
    }
    if (entry.socket_path.empty() && is_here(record)) entry.socket_path = record.socket_path;
    entry.alive = entry.alive || record.alive;
    if (record.alive) entry.pid = record.pid;
  }
}

void BrokerList::add_segments(const std::vector<FoundRecord>& records) {
  std::set<std::string> tags;
  for (const auto& segment : own_segments(user_prefix())) {
    if (const auto parts = parts_of(segment)) tags.insert(parts->tag);
  }
  for (const auto& tag : tags) {
    const auto segments = only_brokers(find_segments_of(tag), records);
    if (segments.empty() && found_.count(tag) == 0) continue;
    BrokerEntry& entry = found_[tag].entry;
    if (entry.name.empty()) entry.name = tag;
    for (const auto& s : segments) {
      entry.segments.push_back(s.name);
      entry.segment_bytes += s.bytes;
    }
    const auto owner = owner_without_record(tag, segments, records);
    if (owner) entry.pid = owner->pid;
    entry.alive = entry.alive || owner;
  }
}

// A process that listens at a socket without lock file, record and segment may be a broker that has another /dev/shm,
// unless a broker has died there.
void BrokerList::judge_listener(Found& found) {
  BrokerEntry& entry = found.entry;
  if (entry.alive || found.has_died || !entry.segments.empty()) return;
  entry.alive = found.listener.kind == Listener::Kind::somebody;
  entry.pid = found.listener.pid;
}

}  // namespace detail

std::string run_directory() { return detail::run_directory(false); }

std::vector<BrokerEntry> list_brokers() { return detail::BrokerList().take(); }

void remove_leftovers(const BrokerEntry& entry) {
  using namespace detail;
  const auto at = [](const std::string& name) { remove_leftovers_at(BrokerPlace(name, BrokerPlace::Use::look)); };
  if (!entry.socket_path.empty()) return at(entry.socket_path);
  if (is_name(entry.name)) return at(entry.name);
  // A path, or a tag where not even that is known.
  const bool is_path = entry.name.find('/') != std::string::npos;
  remove_dead(remove_segments_of(is_path ? tag_of(entry.name) : entry.name, entry.name));
}

}  // namespace ipcq
