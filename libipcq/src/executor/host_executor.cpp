#include "executor/host_executor.hpp"

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/os.hpp"
#include "base/thread.hpp"
#include "layout/handle_records.hpp"
#include "layout/text_field.hpp"
#include "protocol/doorbell.hpp"

namespace ipcq::detail {
namespace {

class HostExecutor final : public Executor {
 public:
  HostExecutor(const QueueMap& queue, const PoolMap& pool, HostHandler handler, std::uint32_t threads, Wait wait)
      : queue_(queue), pool_(pool), ring_(queue.ring()), handler_(handler), wait_(wait) {
    const std::string object = "executor of queue '" + get_text(queue.config().segment.name, kNameBytes) + "'";
    workers_.reserve(threads);
    try {
      for (std::uint32_t i = 0; i < threads; ++i) require_thread(workers_.emplace_back(), object, [this] { work(); });
    } catch (...) {
      workers_.pop_back();  // the one that did not start
      stop();
      throw;
    }
  }
  ~HostExecutor() override { stop(); }

  void stop() noexcept override {
    if (fork_epoch() != epoch_) {
      for (auto& w : workers_) forget_thread(w);
      workers_.clear();
      return;
    }
    stop_.store(true, std::memory_order_release);
    ring_always(queue_.control().work);
    for (auto& w : workers_) w.join();
    workers_.clear();
  }

 private:
  // One worker at a time is the scout, which holds the mutex scout_: it waits for the next line, unlocks, and works on
  // the line while another worker becomes the scout. So only one thread sleeps on the doorbell, and a message wakes
  // only one.
  void work() noexcept {
    for (;;) {
      std::uint64_t ticket = 0;
      {
        const std::scoped_lock scout(scout_);
        const auto published = [&] { return is_tagged(ring_.in(next_), ring_.lap(next_)); };
        const Interruption interruption{nullptr, nullptr, &stop_};
        if (wait_until(queue_.control().work, wait_, kNever, interruption, published) != Status::ok) return;
        if (stop_.load(std::memory_order_acquire)) return;
        ticket = next_++;
        queue_.control().taken.store(next_, std::memory_order_relaxed);
      }
      process(ticket);
    }
  }

  void process(std::uint64_t ticket) noexcept {
    Descriptor d;
    InlineData data;
    auto& control = queue_.control();
    LineRead read = ring_.read_in(ticket, d, data.bytes);
    if (read == LineRead::present && carries_message(d) && !owns_payload(d)) read = LineRead::damaged;
    if (read != LineRead::present || !carries_message(d)) {
      if (read != LineRead::present) control.damaged.fetch_add(1, std::memory_order_relaxed);
      d = Descriptor{};
      d.kind = LineKind::tombstone;
    } else {
      handle(d, d.kind == LineKind::slot ? pool_.payload(d.slot) : data.bytes);
      control.processed.fetch_add(1, std::memory_order_relaxed);
    }
    ring_.write_out(ticket, d, data.bytes);
    wake_after_processing(queue_, pool_);
  }

  // Of a batch the records tell which of them were refused, and the line says nothing.
  void handle(Descriptor& d, std::byte* payload) noexcept {
    bool refused = false;
    if ((d.flags & kRecords) != 0) {
      refused = handle_records(payload, d.length, Team(), [this](std::byte* data, std::uint64_t length, const Team&) {
        return handler_(data, length);
      });
    } else if (!handler_(payload, d.length)) {
      refused = true;
      d.flags |= kNotProcessed;
    }
    if (refused) queue_.control().failed.fetch_add(1, std::memory_order_relaxed);
  }

  // Whether the descriptor, a private copy, refers to a payload that belongs to this message, so that the handler may
  // change it.
  bool owns_payload(const Descriptor& d) const noexcept {
    if (!is_sound(d, queue_, pool_)) return false;
    if (d.kind == LineKind::inlined) return true;
    const Slot s = pool_.pool().slot(d.slot);
    return s.lease == d.lease && s.state == SlotState::message && (d.flags & kPayloadReady) != 0;
  }

  const QueueMap& queue_;
  const PoolMap& pool_;
  const Ring<SharedAtomics> ring_;
  const HostHandler handler_;
  const Wait wait_;
  const std::uint32_t epoch_ = fork_epoch();
  std::mutex scout_;
  std::uint64_t next_ = 0;  // under scout_
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace

std::unique_ptr<Executor> make_host_executor(const QueueMap& queue, const PoolMap& pool, HostHandler handler,
                                             std::uint32_t threads, Wait wait) {
  return std::make_unique<HostExecutor>(queue, pool, handler, threads, wait);
}

}  // namespace ipcq::detail
