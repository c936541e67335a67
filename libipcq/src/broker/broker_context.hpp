// What all parts of one broker share: its names in the system, its log, the descriptors that its control thread polls,
// and the mutex that guards its records.
//
// Thread safety. `mutex` guards everything that the parts of a broker know: registry, clients, endpoints, groups,
// runners, open questions. The clients' data path never takes it. A thread that holds it does not wait for a runner,
// for memory to be reserved or freed, for the log callback, or for the scan of statistics or a dump; it unlocks the
// mutex for such work. Two things do run under it: the repair of a closed endpoint, and a scan for which the system has
// refused a thread (Answers::answer_at_once). A function's declaration says how it uses the mutex:
//
//   takes a Lock&         called with the mutex held; unlocks it in between: the caller looks everything up again
//   "Without the mutex"   called without it; locks it by itself for as long as needed
//   neither               called with the mutex held, and keeps it
//
// Invariant: `stopped` and `quitting` are set once, in this order, and never cleared.
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

// Unlocks a held lock for as long as this object lives.
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
  // Takes the broker's name. Throws what Broker's constructor throws.
  explicit BrokerContext(const BrokerOptions& options);
  BrokerContext(const BrokerContext&) = delete;
  BrokerContext& operator=(const BrokerContext&) = delete;

  // "broker 'NAME'", for messages.
  const std::string& self() const noexcept { return self_; }
  // Any thread, with the mutex or without: the callback is called by a thread of its own.
  void log(LogLevel level, const std::string& text) const { log_.add(level, text); }
  void close_log() const noexcept { log_.close(); }
  // Logs a warning that clients can cause at will: one line a second at most, with the number of those left out.
  void complain(const std::string& text);
  // A file with all of a refusal's text that its reply cuts off; empty: the reply has all of it, or there is no file to
  // be had, which is logged, and its beginning has to do.
  Fd long_text(const std::string& text);
  // Throws UsageError, naming `object`, once the broker has begun to stop.
  void check_running(const std::string& object) const;
  // A number that no other segment of this name has had.
  std::uint64_t new_generation() noexcept;
  // Calls `make`, which opens a descriptor. If the process has none left and `may_borrow`, closes one of the reserve
  // and calls `make` once more.
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
  const std::int64_t admin_gid;    // of administrators; -1: none
  const std::uint32_t max_queues;  // BrokerOptions
  const std::uint64_t max_memory;
  BrokerName name;
  std::uint64_t started_at_ns = 0;
  Fd quit;  // readable once the threads are to end

  mutable std::mutex mutex;
  std::condition_variable changed;  // `stopped` or `quitting` is set, a runner is gone, a creation or check has ended
  bool stopped = false;             // the broker accepts nothing new
  bool quitting = false;            // set after `stopped`, once the drain is over: the threads end
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
