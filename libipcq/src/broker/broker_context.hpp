// What all parts of one broker share: its names in the system, its log, and the mutex that guards its books.
//
// Who may do what under the mutex. It guards everything that the parts of a broker know: the registry, the clients,
// endpoints and groups, the runners, what waits for an answer. Clients' data path never takes it. A thread that has it
// does not wait for a runner, for memory to be reserved or freed, for the log, or for a scan of what is as large as the
// data path: such work is done with the mutex open. How a function stands to the mutex shows in its declaration:
//
//   takes a Lock&             called with the mutex held; opens it meanwhile, so the caller looks again at everything
//   "Without the mutex"       takes it by itself for as long as it needs it
//   neither                   called with the mutex held, and keeps it
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "base/log_queue.hpp"
#include "base/os.hpp"
#include "base/poll_set.hpp"
#include "broker/admission.hpp"
#include "broker/broker_names.hpp"
#include "ipcq/broker.hpp"
#include "ipcq/error.hpp"
#include "queue/segment.hpp"

namespace ipcq::detail {

using Lock = std::unique_lock<std::mutex>;

// Opens a held lock while it lives.
class Unlocked {
 public:
  explicit Unlocked(Lock& lock) : lock_(lock) { lock_.unlock(); }
  ~Unlocked() { lock_.lock(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  Lock& lock_;
};

class BrokerContext {
 public:
  // Takes the name. Throws as Broker's constructor.
  explicit BrokerContext(const BrokerOptions& options);
  BrokerContext(const BrokerContext&) = delete;
  BrokerContext& operator=(const BrokerContext&) = delete;

  // "broker 'NAME'", for messages.
  const std::string& self() const noexcept { return self_; }
  // Any thread, with the mutex or without: the callback is called by a thread of its own.
  void log(LogLevel level, const std::string& text) const { log_.add(level, text); }
  void close_log() const noexcept { log_.close(); }
  // Logs what a client causes, once a second at most.
  void complain(const std::string& text);
  // Throws UsageError, naming `object`, once the broker has begun to stop.
  void check_running(const std::string& object) const;
  // A number that no other segment of this name has had.
  std::uint64_t new_generation() noexcept;
  // Calls `make`, which opens a descriptor; once more with one of the reserve where none is left and `may_borrow`.
  template <class Make>
  auto with_descriptor(bool may_borrow, Make make) {
    try {
      return make();
    } catch (const SystemError& e) {
      if (!may_borrow || (e.code() != EMFILE && e.code() != ENFILE) || !reserve.lend()) throw;
    }
    return make();
  }

  // Constant after construction.
  const std::uint32_t epoch = fork_epoch();
  Segment::Access access;
  BrokerName name;
  std::uint64_t started_at_ns = 0;
  Fd quit;  // readable once the threads are to end

  mutable std::mutex mutex;
  std::condition_variable changed;  // `stopped` or `quitting` is set, a runner is gone, a creation or check has ended
  bool stopped = false;             // nothing new is taken on
  bool quitting = false;            // likewise, and what was there has drained: the threads end
  DescriptorReserve reserve;
  PollSet polls;  // what the control thread waits for; safe without the mutex

 private:
  mutable LogQueue log_;
  const std::string self_;
  std::uint64_t last_generation_ = 0;
  std::uint64_t complained_at_ns_ = 0;
  std::uint64_t complaints_kept_ = 0;  // since then
};

}  // namespace ipcq::detail
