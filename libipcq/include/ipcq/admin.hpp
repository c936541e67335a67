// What tools ask of a running broker, and what they may clean up after a dead one.
#pragma once

#include <string>
#include <vector>

#include "ipcq/options.hpp"
#include "ipcq/stats.hpp"
#include "ipcq/wait.hpp"

namespace ipcq {

// Asks a broker for its counters. `broker` as in ConnectOptions. Throws NotFoundError, PermissionError, SystemError.
IPCQ_API BrokerStats fetch_stats(const std::string& broker = {}, Timeout wait_for = Duration::zero());
// Broker::dump() and Broker::end_of_stream() of a running broker. Like these, and set_executor(), they throw UsageError
// for what cannot be a queue's name.
IPCQ_API std::string fetch_dump(const std::string& queue, const std::string& broker = {});
IPCQ_API void end_of_stream(const std::string& queue, const std::string& broker = {});
// Switches a device queue to another executor, at one place in its order, and waits for that place (1 s at most: the
// queue may be full) and until it is reached (10 s at most: messages before it may wait for payloads). Throws
// UsageError (not a device queue, `auto_`, queue full), SystemError (time-out), and as fetch_stats().
IPCQ_API void set_executor(const std::string& queue, ExecutorKind kind, const std::string& broker = {});

// A broker of this user, of whom something lies in run_directory() or in shared memory.
struct BrokerEntry {
  std::string name;         // of a broker in run_directory(); else its socket's path, which serves as name, too
  std::string socket_path;  // absolute; empty: it has none here. Another container has it, or its directory is gone
  bool alive = false;
  std::int32_t pid = 0;               // of a live broker
  std::vector<std::string> segments;  // shared memory names that belong to it
  std::uint64_t segment_bytes = 0;
};
// Live brokers and leftovers of dead ones.
IPCQ_API std::vector<BrokerEntry> list_brokers();
// Removes the names of one dead broker, and nothing else. Throws UsageError when it is alive, and when what lies at its
// place keeps its socket from being removed: the text names that.
IPCQ_API void remove_leftovers(const BrokerEntry& entry);

// Directory of sockets: $XDG_RUNTIME_DIR/ipcq, /run/ipcq for root, else /tmp/ipcq-UID.
IPCQ_API std::string run_directory();

}  // namespace ipcq
