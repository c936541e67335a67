#include "broker/broker_names.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "base/peer.hpp"
#include "control/control.hpp"
#include "ipcq/error.hpp"
#include "queue/segment.hpp"

namespace ipcq::detail {
namespace {

[[noreturn]] void refuse_live(const BrokerPlace& place, const std::string& what) {
  throw UsageError("broker '" + printable(place.name()) + "': " + what + ", though its lock file " +
                   printable(place.lock_path()) + " was removed; stop that process, or choose another --name");
}

// Throws Obstacle unless the socket's path is free, or has a socket of this user, which may be a dead broker's.
void check_kind(const BrokerPlace& place) {
  const auto there = place.status_of(place.socket_file());
  if (!there || (S_ISSOCK(there->st_mode) && there->st_uid == geteuid())) return;
  throw Obstacle(
      place, describe(printable(place.socket_path()), *there) + ", no control socket that a broker of this user left",
      "move it away");
}

bool lives_at(const FoundRecord& record, const BrokerPlace& place) { return record.alive && is_at(record, place); }

// Throws if a broker lives here without a lock file: its record, a segment or the socket shows it.
void check_life(const BrokerPlace& place, const std::vector<SegmentName>& segments,
                const std::vector<FoundRecord>& records) {
  for (const auto& r : records) {
    if (lives_at(r, place)) refuse_live(place, "a live broker has this name (pid " + std::to_string(r.pid) + ")");
  }
  if (const auto owner = owner_without_record(place.tag(), segments, records)) {
    refuse_live(place, "segment " + owner->name + " has a live owner (pid " + std::to_string(owner->pid) + ")");
  }
  if (!place.status_of(place.socket_file())) return;
  const Listener listener = listener_at(place);
  if (listener.kind == Listener::Kind::nobody) return;
  throw Obstacle(place,
                 "somebody listens at " + printable(place.socket_path()) +
                     (listener.pid != 0 ? " (pid " + std::to_string(listener.pid) + ")" : "") +
                     " and holds no lock file " + printable(place.lock_path()),
                 "stop that process");
}

// Throws unless something shows that the socket is a broker's; that nobody listens at it does not.
void check_origin(const BrokerPlace& place, const BrokerLock& lock, const std::vector<FoundRecord>& records) {
  if (!place.status_of(place.socket_file()) || lock.was_left() || place.in_run_directory()) return;
  if (std::any_of(records.begin(), records.end(), [&](const auto& r) { return is_at(r, place); })) return;
  throw Obstacle(place,
                 printable(place.socket_path()) + " is a socket that nobody serves, but neither " +
                     printable(place.lock_path()) + " nor shared memory says that a broker left it",
                 "remove it if no program needs it");
}

// A name alone makes no file a segment. The file must have the magic number of its kind, or be empty, as when its
// creator died early. If clients have overwritten the magic number, its size must be of whole pages, as every reserved
// segment's is, and a record must show that there was such a broker.
bool is_brokers(const SegmentName& segment, const std::vector<FoundRecord>& records) {
  const auto parts = parts_of(segment.name);
  if (!parts || parts->kind == kRecordKind || !segment.magic) return false;
  if (segment.bytes == 0 || *segment.magic == (parts->kind == kQueueKind ? kQueueMagic : kPoolMagic)) return true;
  const bool recorded = std::any_of(records.begin(), records.end(),
                                    [&](const auto& r) { return r.tag == parts->tag && !r.socket_path.empty(); });
  return recorded && segment.bytes % kHeaderBytes == 0;
}

std::string remove_leftovers_at(const BrokerPlace& place, const std::vector<SegmentName>& segments,
                                const std::vector<FoundRecord>& records) {
  std::uint64_t bytes = 0;
  unsigned count = 0;
  // A live broker at the same path in another container: the segments of this tag are its own.
  const bool has_namesake =
      std::any_of(records.begin(), records.end(), [&](auto& r) { return r.alive && r.tag == place.tag(); });
  if (!has_namesake) {
    // Whoever can open a segment can lock it: a lock does not prove that its broker lives.
    for (const auto& s : segments) {
      unlink_segment(s.name);
      bytes += s.bytes;
      ++count;
    }
    for (const auto& r : records) {
      if (r.tag == place.tag()) remove_dead(r);
    }
  }
  const bool had_socket = place.status_of(place.socket_file()).has_value();
  if (had_socket && ::unlinkat(place.directory(), place.socket_file().c_str(), 0) != 0) {
    throw_system(errno, "unlink", "control socket " + place.socket_path());
  }
  if (count == 0 && !had_socket) return {};
  return std::to_string(count) + " segments (" + format_bytes(bytes) + ")" + (had_socket ? " and its socket" : "");
}

}  // namespace

std::vector<SegmentName> find_segments_of(const std::string& tag) { return find_segments(user_prefix() + tag + "+"); }

std::vector<SegmentName> only_brokers(std::vector<SegmentName> segments, const std::vector<FoundRecord>& records) {
  std::erase_if(segments, [&](const auto& s) { return !is_brokers(s, records); });
  return segments;
}

std::optional<SegmentName> owner_without_record(const std::string& tag, const std::vector<SegmentName>& segments,
                                                const std::vector<FoundRecord>& records) {
  if (std::any_of(records.begin(), records.end(), [&](const auto& r) { return r.tag == tag; })) return std::nullopt;
  const auto owned = std::find_if(segments.begin(), segments.end(), [](const auto& s) { return s.owned; });
  return owned == segments.end() ? std::nullopt : std::optional(*owned);
}

Listener listener_at(const BrokerPlace& place) {
  const Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) throw_system(errno, "socket", "control socket " + place.socket_path());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, place.address().data(), place.address().size());  // a place has checked that it fits
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    if (error == ECONNREFUSED) return {};
    // ENOENT alone is no proof: an address below /proc/self/fd leads nowhere where /proc is missing.
    if (error == ENOENT && !place.status_of(place.socket_file())) return {};
    return {error == EPROTOTYPE ? Listener::Kind::no_broker : Listener::Kind::somebody, 0};
  }
  const Fd process = process_behind(socket.get());
  if (process ? has_ended(process) : errno == ESRCH) return {};
  Peer peer;
  return {Listener::Kind::somebody, get_peer(socket.get(), peer) ? std::max(peer.pid, 0) : 0};
}

BrokerLock take_over(const BrokerPlace& place, std::string& removed) {
  check_kind(place);  // before a lock file is created beside another program's file
  BrokerLock lock(place);
  auto named = find_segments_of(place.tag());  // first: a broker's record is older than its segments
  const auto records = find_records();
  const auto segments = only_brokers(std::move(named), records);
  check_kind(place);
  check_life(place, segments, records);
  check_origin(place, lock, records);
  removed = remove_leftovers_at(place, segments, records);
  return lock;
}

BrokerName::BrokerName(const std::string& name_or_path)
    : place_(broker_name_or_default(name_or_path), BrokerPlace::Use::serve), lock_(take_over(place_, leftovers_)) {
  record_.emplace(place_);
  lock_.mark();
}

BrokerName::~BrokerName() { release(); }

Fd BrokerName::listen(std::uint32_t mode, std::int64_t gid) {
  Fd listener = listen_socket(place_.address(), mode, gid);
  socket_ = place_.status_of(place_.socket_file());
  return listener;
}

bool BrokerName::is_reachable_by(std::int64_t gid) const noexcept {
  const struct stat& directory = place_.directory_status();
  return (directory.st_mode & (std::int64_t{directory.st_gid} == gid ? S_IXGRP : S_IXOTH)) != 0;
}

void BrokerName::release() noexcept {
  if (released_ || fork_epoch() != epoch_) return;  // a forked child's copy owns nothing
  released_ = true;
  struct stat named {};
  if (socket_ && ::fstatat(place_.directory(), place_.socket_file().c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
      is_same_file(*socket_, named)) {
    ::unlinkat(place_.directory(), place_.socket_file().c_str(), 0);
  }
  record_.reset();
  lock_.remove();  // last: the broker that takes it next finds nothing left
}

std::string BrokerName::segment(const char* kind, const std::string& object, std::uint64_t generation) const {
  char text[24];
  std::snprintf(text, sizeof text, "+%llx", static_cast<unsigned long long>(generation));
  return user_prefix() + place_.tag() + "+" + kind + "+" + object + text;
}

}  // namespace ipcq::detail
