// The client's side of the control connection: sends requests, owns the session's maps of queues and pools, and has a
// poll thread that notices when the broker ends. Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/deadline.hpp"
#include "base/log_queue.hpp"
#include "client/forwarded_request.hpp"
#include "client/ready_fd.hpp"
#include "client/session_maps.hpp"
#include "control/request_channel.hpp"
#include "control/schema_claim.hpp"
#include "ipcq/session.hpp"
#include "protocol/doorbell.hpp"

namespace ipcq::detail {

// An endpoint as the broker has opened it.
struct Attachment {
  std::shared_ptr<QueueMap> queue;
  std::shared_ptr<PoolMap> pool;
  std::uint32_t client = 0;
  std::uint32_t endpoint = 0;
  unsigned group = 0;
  bool uses_cuda = false;  // the endpoint was opened with {.cuda = true}
};

class SessionCore {
 public:
  explicit SessionCore(const ConnectOptions& options);
  ~SessionCore();
  SessionCore(const SessionCore&) = delete;
  SessionCore& operator=(const SessionCore&) = delete;

  // Opens an endpoint of that claim and maps its queue. Retries until the queue exists or `deadline` has passed.
  Attachment attach(Request request, const SchemaClaim& claim, Deadline& deadline);
  // The queue of that generation, whose client has asked what another queue's server is to answer. Throws
  // NotFoundError: there is none any more; as attach().
  CallHome find_home(std::uint64_t generation);
  // Closes the endpoint at the broker, and ends its use of the maps. Waits for the answer as RequestChannel::tell().
  // Failures are ignored: the broker closes the endpoint at the latest when it sees the process end.
  // `flags`: RequestFlag of close_endpoint.
  void detach(std::uint32_t client, std::uint32_t flags) noexcept;

  void interrupt() noexcept;
  void resume() noexcept { interrupted_.store(false, std::memory_order_release); }
  bool connected() const noexcept { return !disconnected_.load(std::memory_order_acquire); }
  bool is_forked_child() const noexcept { return fork_epoch() != epoch_; }
  Interruption interruption(const QueueMap& queue) const noexcept {
    return {&queue.control().state, &disconnected_, &interrupted_};
  }
  // Keeps a closed endpoint's core, which messages or loans still refer to, until the session ends.
  IPCQ_INTERNAL_API void retire(std::shared_ptr<void> core);
  // Keeps `what`, by which a GPU reaches this map of a queue or pool, as long as the session has the map.
  IPCQ_INTERNAL_API void keep_with(const void* map, std::shared_ptr<void> what);
  BellWatches& bell_watches() noexcept { return bell_watches_; }
  IPCQ_INTERNAL_API void log(LogLevel level, const std::string& text) const;

 private:
  Reply request(const Request& request, const std::string& behind, std::string& refusal);
  void poll_broker() noexcept;
  [[noreturn]] void throw_lost() const;

  const std::uint32_t epoch_ = fork_epoch();
  std::string broker_;
  std::string path_;
  mutable LogQueue log_;
  RequestChannel channel_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> disconnected_{false};
  std::atomic<bool> interrupted_{false};
  SessionMaps maps_;
  BellWatches bell_watches_;
  std::mutex retiring_;
  std::vector<std::shared_ptr<void>> retired_;
  std::thread poll_thread_;
};

}  // namespace ipcq::detail
