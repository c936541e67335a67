#include "stream_executor.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "payload_nap.hpp"
#include "protocol/doorbell.hpp"

namespace ipcq::runner {

using namespace detail;

namespace {

constexpr std::uint32_t kMaxRun = 1024;               // inline messages of one kernel
constexpr std::uint64_t kLook = 20'000'000;           // ns between checks of enqueued work
constexpr auto kNap = std::chrono::microseconds(10);  // while the stream drains
// Most messages and runs in flight, of one queue and of all in the runner. Queues may share a hardware queue, and the
// driver blocks a launch behind about a thousand others that make no progress there (1020, H200, driver 580).
constexpr unsigned kMostInFlight = 128;
constexpr unsigned kMostOfAll = 512;
constexpr unsigned kLeastInFlight = 8;
constexpr std::uint64_t kMostDrainNs = 500'000'000;  // a place between two messages is asked for within kPlacePatience

device::SlotMessage message_of(const Ring<SharedAtomics>& ring, std::uint64_t ticket, const Descriptor& d) {
  device::SlotMessage m{};
  m.ticket = ticket;
  m.lease = d.lease;
  m.slot = d.slot;
  m.length = d.length;
  m.flags = d.flags;
  for (unsigned u = 0; u < kSlotUnits; ++u) {
    const Pair unit = ring.in(ticket)[u].load(std::memory_order_relaxed);
    std::memcpy(m.unit[u], &unit, sizeof m.unit[u]);
  }
  return m;
}

}  // namespace

// So many may be in flight next, where those that were took `drain_ns` to drain.
unsigned StreamExecutor::fewer_or_more(unsigned in_flight, std::uint64_t drain_ns) noexcept {
  if (drain_ns < kMostDrainNs / 4) return std::min(2 * in_flight, kMostInFlight);
  if (drain_ns < kMostDrainNs) return in_flight;
  return std::max(1u, static_cast<unsigned>(in_flight * kMostDrainNs / drain_ns));
}

void StreamExecutor::run() {
  // The counters continue from the values of the other executor.
  device::StreamTotals before{};
  auto& control = q_.map().control();
  before.counted[kProcessedCounter] = control.processed.load(std::memory_order_relaxed);
  before.counted[kFailedCounter] = control.failed.load(std::memory_order_relaxed);
  before.counted[kDamagedCounter] = control.damaged.load(std::memory_order_relaxed);
  check_cuda(driver().cuMemcpyHtoDAsync(reinterpret_cast<CUdeviceptr>(totals()), &before, sizeof before, q_.stream()),
             "cuMemcpyHtoDAsync", q_.object());
  patience_.begin();
  drain();
  std::uint64_t next = q_.resume;
  // The `in` line of a ticket that is done may already be of the next lap.
  const auto is_done = [&](std::uint64_t ticket) { return ticket < q_.limit && ring_.readable(ticket); };
  const auto published = [&] { return is_done(next) || is_tagged(ring_.in(next), ring_.lap(next)); };
  bool busy = false;       // the stream may have work
  unsigned in_flight = 0;  // upper bound: messages and runs enqueued since the stream was drained
  while (q_.kind() == ExecutorKind::stream) {
    const std::uint64_t until = busy ? now_ns() + kLook : kNever;
    const Status s = wait_until(control.work, Wait::hybrid(), until, {nullptr, nullptr, &stop_}, published);
    if (stop_.load()) break;
    see_to_progress();
    busy = s == Status::ok || !q_.is_idle();
    if (s != Status::ok) continue;
    const unsigned most = std::clamp(seat_.share_of(kMostOfAll), kLeastInFlight, kMostInFlight);
    if (++in_flight > std::min(most, most_in_flight_)) {
      const std::uint64_t begin = now_ns();
      drain();
      most_in_flight_ = fewer_or_more(in_flight - 1, now_ns() - begin);
      in_flight = 1;
    }
    std::uint32_t inlined = 0;
    auto last = Enqueued::alone;
    do {
      if (!is_tagged(ring_.in(next + inlined), ring_.lap(next + inlined))) break;
      last = enqueue(next + inlined, inlined);
    } while (last == Enqueued::in_run && inlined < kMaxRun);
    if (inlined != 0) {
      enqueue_inlined(next, inlined);
      next += inlined;
    } else if (last == Enqueued::alone) {
      ++next;  // also where a stop was asked for meanwhile: its work is enqueued, and must not be again
    }
    control.taken.store(next, std::memory_order_relaxed);
  }
  drain();
  q_.resume = next;
  q_.limit = std::max(q_.limit, next);
}

device::StreamTotals* StreamExecutor::totals() const noexcept { return &q_.memory()->totals; }

// If enqueued work has made no progress for too long, has other queues' kernels make room for it.
void StreamExecutor::see_to_progress() {
  auto& control = q_.map().control();
  const auto has_moved = [&] {
    const std::uint64_t done =
        control.processed.load(std::memory_order_relaxed) + control.damaged.load(std::memory_order_relaxed);
    return std::exchange(seen_done_, done) != done || q_.is_idle();
  };
  if (!patience_.is_at_end()) return;
  if (has_moved() || seat_.take_turn(has_moved)) {
    patience_.begin();
  } else {
    patience_.double_after_turn();
  }
}

void StreamExecutor::drain() {
  while (!q_.is_idle()) {
    see_to_progress();
    std::this_thread::sleep_for(kNap);
  }
}

// Handles one published ticket, the next after a run of `inlined` tickets without a slot. A ticket that carries neither
// a slot nor a request joins the run. Another one's work is enqueued if the run is empty.
StreamExecutor::Enqueued StreamExecutor::enqueue(std::uint64_t ticket, std::uint32_t& inlined) {
  const auto after_run = inlined != 0 ? Enqueued::later : Enqueued::alone;
  if (ticket < q_.limit && ring_.readable(ticket)) return after_run;  // done by the other executor
  Descriptor d;
  const LineRead read = ring_.look_in(ticket, d);
  const bool slot = read == LineRead::present && d.kind == LineKind::slot && is_sound(d, q_.map(), q_.pool()) &&
                    q_.payloads() && ((d.flags & kInMirror) == 0 || q_.view().mirror != nullptr);
  if (slot && !is_written(d, q_.pool())) {
    if (inlined != 0 || !await_payload(d)) return Enqueued::later;
  }
  const bool came = slot && !is_buried(d, q_.pool());
  const bool control = read == LineRead::present && d.kind == LineKind::control;
  if (!came && !control) {
    ++inlined;
    return Enqueued::in_run;
  }
  if (after_run == Enqueued::later) return after_run;
  if (came) {
    enqueue_message(ticket, d);
  } else {
    enqueue_inlined(ticket, 1);
    if (d.sequence == static_cast<std::uint64_t>(ControlOp::switch_to_persistent))
      q_.change_to(ExecutorKind::persistent);
  }
  return after_run;
}

// Waits until the payload is complete. False if the queue is stopped first.
bool StreamExecutor::await_payload(const Descriptor& d) {
  const std::uint64_t start = now_ns();
  while (!is_written(d, q_.pool())) {
    if (stop_.load()) return false;
    if (const std::uint64_t nap = nap_for_payload(now_ns() - start); nap != 0) {
      see_to_progress();  // the payload's writer may wait for earlier messages
      std::this_thread::sleep_for(std::chrono::nanoseconds(nap));
    } else {
      cpu_pause();
    }
  }
  return true;
}

void StreamExecutor::enqueue_inlined(std::uint64_t first, std::uint32_t count) {
  device::StreamTotals* to = totals();
  void* arguments[] = {&q_.view(), &to, &first, &count};
  q_.launch(q_.kernels().inlined, 1, device::kBlockThreads, arguments);
}

void StreamExecutor::enqueue_message(std::uint64_t ticket, const Descriptor& d) {
  const auto& cu = driver();
  device::SlotMessage m = message_of(ring_, ticket, d);
  const CUdeviceptr payload = q_.payloads()->address() + m.slot * q_.view().stride;
  std::uint8_t* const mirror = reinterpret_cast<std::uint8_t*>(q_.pool().payload(m.slot));
  if ((m.flags & kInMirror) != 0 && m.length != 0) {
    check_cuda(cu.cuMemcpyHtoDAsync(payload, mirror, m.length, q_.stream()), "cuMemcpyHtoDAsync", q_.object());
  }
  device::StreamTotals* to = totals();
  std::uint32_t finish = q_.view().host_readable ? 0 : 1;
  void* arguments[] = {&q_.view(), &to, &m, &finish};
  const Kernels& kernels = q_.kernels();
  const bool small = kernels.one_block || m.length < device::kSplitBytes;
  q_.launch(kernels.message, small ? 1 : std::max(q_.workers(), 1u), device::kBlockThreads, arguments);
  if (finish != 0) return;
  if (!kernels.plain) {  // the copy is the kernel's
    q_.launch(kernels.finish, std::max(q_.workers(), 1u), device::kBlockThreads, arguments);
    return;
  }
  if (m.length != 0) {
    check_cuda(cu.cuMemcpyDtoHAsync(mirror, payload, m.length, q_.stream()), "cuMemcpyDtoHAsync", q_.object());
  }
  q_.launch(kernels.finish, 1, 1, arguments);
}

}  // namespace ipcq::runner
