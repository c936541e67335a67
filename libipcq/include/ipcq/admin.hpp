// Questions and requests of tools to a running broker, and the removal of what a dead one left. Thread-safe.
//
// Each call that names a broker makes its own connection, and waits 10 s at most for an answer (SystemError,
// ETIMEDOUT), unless it says more. `broker` as in ConnectOptions. All of them throw NotFoundError (no such broker or
// queue), UsageError (invalid name of a broker or queue), PermissionError, SystemError and LayoutError (a broker of
// another release).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ipcq/options.hpp"
#include "ipcq/stats.hpp"
#include "ipcq/wait.hpp"

namespace ipcq {

// Broker::stats() of a running broker. `wait_for`: how long to wait for the broker to appear.
IPCQ_API BrokerStats fetch_stats(const std::string& broker = {}, Timeout wait_for = Duration::zero());
// Broker::dump() of a running broker.
IPCQ_API std::string fetch_dump(const std::string& queue, const std::string& broker = {});
// Broker::end_of_stream() of a running broker.
IPCQ_API void end_of_stream(const std::string& queue, const std::string& broker = {});
// Switches a device queue to another executor at one place in the queue's order. Waits 1 s at most for that place,
// since the queue may be full, then 10 s at most until the executor reaches it, since earlier messages may wait for
// their payloads. Throws UsageError (not a device queue, `auto_`, queue full), SystemError (time-out).
IPCQ_API void set_executor(const std::string& queue, ExecutorKind kind, const std::string& broker = {});

// Broker::save_state(), load_state() and replace_handler() of a running broker, which takes them from its own user and
// from root alone (PermissionError). This process reads and writes `file`; the broker reads the handler's file, so that
// a relative path is made absolute here. Wait for the broker 10 s, and as long as copying or compiling takes, 15
// minutes at most.
IPCQ_API void save_state(const std::string& queue, const std::string& file, const std::string& broker = {});
IPCQ_API void load_state(const std::string& queue, const std::string& file, const std::string& broker = {});
IPCQ_API void replace_handler(const std::string& queue, const std::string& handler, const std::string& broker = {});

// Broker::create(), create_pool(), remove(), remove_pool(), pause(), resume() and drain() of a running broker, which
// takes them from its own user, from root, and from members of its admin group, who may name no file of a handler or
// state (PermissionError). Relative paths are made absolute here; the broker reads the files. Creations are refused
// beyond the broker's limits, BrokerOptions::max_queues and max_memory (UsageError). Each waits for what it does, 15
// minutes at most: for memory, a compiler, a handler that is to return. remove_queue() returns how many messages were
// left. drain() waits up to `drain_for` and returns how many are left; 0: it is drained. A time-out is no error.
IPCQ_API void create_queue(const std::string& queue, QueueOptions options = {}, const std::string& broker = {});
IPCQ_API void create_pool(const std::string& pool, PoolOptions options = {}, const std::string& broker = {});
IPCQ_API std::uint64_t remove_queue(const std::string& queue, Removal how = Removal::if_unused,
                                    const std::string& broker = {});
IPCQ_API void remove_pool(const std::string& pool, const std::string& broker = {});
IPCQ_API void pause(const std::string& queue, const std::string& group = {}, const std::string& broker = {});
IPCQ_API void resume(const std::string& queue, const std::string& group = {}, const std::string& broker = {});
IPCQ_API std::uint64_t drain(const std::string& queue, Timeout drain_for = kForever, const std::string& broker = {});

// A broker of this user that has a file in run_directory() or in shared memory.
struct BrokerEntry {
  std::string name;         // of a broker in run_directory(); else its socket's path, which is valid as a name too
  std::string socket_path;  // absolute; empty: none here, because another container has it or its directory is gone
  bool alive = false;
  std::int32_t pid = 0;               // of a live broker
  std::vector<std::string> segments;  // names of its shared memory objects
  std::uint64_t segment_bytes = 0;    // sum of their sizes
};
// Live brokers, and dead ones that left files, by name. Asks no broker. Throws as run_directory(), and SystemError.
IPCQ_API std::vector<BrokerEntry> list_brokers();
// Removes the names of one dead broker. Throws UsageError if it is alive, or if another file at its place prevents the
// removal of its socket (the text names the file); SystemError, PermissionError.
IPCQ_API void remove_leftovers(const BrokerEntry& entry);

// The directory of brokers' sockets: $XDG_RUNTIME_DIR/ipcq; without that variable /run/ipcq for root, else
// /tmp/ipcq-UID. It need not exist. Throws UsageError if it is no directory, PermissionError if it is another user's.
IPCQ_API std::string run_directory();

}  // namespace ipcq
