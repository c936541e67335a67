#include "executor/host_executor.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/crash_point.hpp"
#include "base/deadline.hpp"
#include "base/os.hpp"
#include "base/thread.hpp"
#include "executor/in_line.hpp"
#include "executor/works_on.hpp"
#include "layout/handle_records.hpp"
#include "layout/text_field.hpp"
#include "layout/verdict.hpp"
#include "protocol/doorbell.hpp"

namespace ipcq::detail {
namespace {

constexpr auto kPauseLook = std::chrono::microseconds(100);

class HostThreads final : public HostExecutor {
 public:
  HostThreads(const QueueMap& queue, const PoolMap& pool, HostCall call, std::uint32_t threads, Wait wait,
              HostBeginning begin)
      : queue_(queue),
        pool_(pool),
        ring_(queue.ring()),
        call_(std::move(call)),
        is_image_(call_.image != nullptr),
        wait_(wait),
        next_(begin.first),
        paused_(begin.paused),
        interrupt_(begin.paused) {
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
  ~HostThreads() override { stop(); }

  void stop() noexcept override {
    if (fork_epoch() != epoch_) {
      for (auto& w : workers_) forget_thread(w);
      workers_.clear();
      return;
    }
    stop_.store(true, std::memory_order_release);
    interrupt_.store(true, std::memory_order_release);
    ring_always(queue_.control().work);
    wake_paused();
    for (auto& w : workers_) w.join();
    workers_.clear();
  }

  // A scout that waits is woken, so that it does not take the next line before it looks at paused_.
  bool pause(std::uint64_t deadline) override {
    paused_.store(true);
    interrupt_.store(true);
    ring_always(queue_.control().work);
    if (!is_image_) {
      const std::scoped_lock last_is_taken(scout_);
      return true;
    }
    while (in_work_.load() != 0) {
      if (now_ns() >= deadline) {
        resume();
        return false;
      }
      std::this_thread::sleep_for(kPauseLook);
    }
    return true;
  }
  void resume() noexcept override {
    interrupt_.store(stop_.load());
    if (stop_.load()) interrupt_.store(true);  // set meanwhile
    paused_.store(false);
    wake_paused();
  }
  void set_call(HostCall call) override { call_ = std::move(call); }

 private:
  // One worker at a time is the scout, which holds the mutex scout_: it waits for the next line, unlocks, and works on
  // the line while another worker becomes the scout. So only one thread sleeps on the doorbell, and a message wakes
  // only one.
  void work() noexcept {
    const WorksOn works_on(queue_.segment().name().c_str());
    for (;;) {
      std::uint64_t ticket = 0;
      wait_while_paused();
      {
        const std::scoped_lock scout(scout_);
        const auto published = [&] { return is_tagged(ring_.in(next_), ring_.lap(next_)); };
        const Interruption interruption{nullptr, nullptr, &interrupt_};
        const Status s = wait_until(queue_.control().work, wait_, kNever, interruption, published);
        if (stop_.load(std::memory_order_acquire)) return;
        if (s != Status::ok || !enter()) continue;
        ticket = next_++;
        queue_.control().taken.store(next_, std::memory_order_relaxed);
      }
      process(ticket);
      if (is_image_) in_work_.fetch_sub(1);
    }
  }

  void wait_while_paused() const noexcept {
    for (;;) {
      const std::uint32_t seen = changes_.load();
      if (!paused_.load() || stop_.load()) return;
      changes_.wait(seen);
    }
  }
  // After a change of paused_ or stop_.
  void wake_paused() noexcept {
    changes_.fetch_add(1);
    changes_.notify_all();
  }

  // Whether the scout may take a message. Counts it before the look at paused_: either pause() observes the count, or
  // this observes the pause. Built-in handlers, for whose return no pause waits, are spared the count.
  bool enter() noexcept {
    if (!is_image_) return !paused_.load();
    in_work_.fetch_add(1);
    if (!paused_.load()) return true;
    in_work_.fetch_sub(1);
    return false;
  }

  void process(std::uint64_t ticket) noexcept {
    Descriptor d;
    InlineData data;
    const InLine line = read_in_line(queue_, pool_, ticket, d, data);
    if (line == InLine::message) {
      handle(ticket, d, d.kind == LineKind::slot ? pool_.payload(d.slot) : data.bytes);
      queue_.control().processed.fetch_add(1, std::memory_order_relaxed);
    }
    if (line == InLine::absent) {  // overwritten since the scout saw it
      queue_.control().damaged.fetch_add(1, std::memory_order_relaxed);
    }
    IPCQ_CRASH_POINT("execute.handled");
    ring_.write_out(ticket, d, data.bytes);
    wake_after_processing(queue_, pool_);
    wake_callers(queue_, ticket, ticket + 1);
  }

  // Of a batch the records tell which of them were refused, and the line says nothing; but where the handler threw, the
  // line says that it did so on some of those.
  void handle(std::uint64_t ticket, Descriptor& d, std::byte* payload) noexcept {
    HandlerMessage m;
    m.data = payload;
    m.length = d.length;
    m.capacity = d.kind == LineKind::slot ? pool_.config().slot_bytes : ring_.inline_bytes();
    m.ticket = ticket;
    m.sequence = d.sequence;
    m.published_at_ns = d.published_at_ns;
    m.producer = d.producer;
    bool refused = false;
    if ((d.flags & kRecords) != 0) {
      refused = handle_all_records(d, m);
    } else {
      call(m);
      const Verdict verdict = verdict_of(m.outcome);
      d.length = static_cast<std::uint32_t>(m.length);
      d.flags |= static_cast<std::uint8_t>(verdict.flags);
      d.priority = static_cast<std::uint8_t>(verdict.code);
      refused = (verdict.flags & kNotProcessed) != 0;
    }
    if (refused) queue_.control().failed.fetch_add(1, std::memory_order_relaxed);
  }

  // Returns whether some were refused.
  bool handle_all_records(Descriptor& d, const HandlerMessage& batch) noexcept {
    bool threw = false;
    const bool refused = handle_records(batch.data, batch.length, Team(),
                                        [&](std::byte* data, std::uint64_t length, const Team&, std::uint32_t number) {
                                          HandlerMessage m = record_of(batch, data, length, number);
                                          call(m);
                                          threw |= m.outcome == kThrewOutcome;
                                          return m.outcome;
                                        });
    if (threw) d.flags |= kHandlerFailed;
    return refused;
  }

  void call(HandlerMessage& m) noexcept {
    if (call_.builtin != nullptr) {
      if (!call_.builtin(m.data, m.length)) m.outcome = kRefusedOutcome;
      return;
    }
    char why[256] = {};
    const std::uint64_t before = m.length;
    const std::uint64_t room = m.capacity;
    call_.image(call_.handler, m, why, sizeof why);
    if (m.outcome == kThrewOutcome || m.length > room) m.length = before;
    if (fork_epoch() != epoch_) ::_exit(0);  // the handler has forked: the queue is its parent's
    if (m.outcome == kThrewOutcome && call_.on_throw) call_.on_throw(why);
  }

  const QueueMap& queue_;
  const PoolMap& pool_;
  const Ring<SharedAtomics> ring_;
  HostCall call_;
  const bool is_image_;
  const Wait wait_;
  const std::uint32_t epoch_ = fork_epoch();
  std::mutex scout_;
  std::uint64_t next_;  // under scout_
  std::atomic<bool> stop_{false};
  std::atomic<bool> paused_;
  std::atomic<bool> interrupt_;            // one of both: the scout leaves its wait
  std::atomic<std::uint32_t> changes_{0};  // of both: workers wait for one while paused_
  std::atomic<std::uint32_t> in_work_{0};  // messages
  std::vector<std::thread> workers_;
};

}  // namespace

std::unique_ptr<HostExecutor> make_host_executor(const QueueMap& queue, const PoolMap& pool, HostCall call,
                                                 std::uint32_t threads, Wait wait, HostBeginning begin) {
  return std::make_unique<HostThreads>(queue, pool, std::move(call), threads, wait, begin);
}

}  // namespace ipcq::detail
