#include "gpu_receiver.hpp"

#include <algorithm>
#include <ipcq/cuda.hpp>
#include <thread>

#include "program/logging.hpp"

namespace ipcq::program {
namespace {

// One of so many messages is timed to the end of its check.
constexpr std::uint64_t kSampling = 64;
constexpr Duration kSpinForSample = std::chrono::milliseconds(1);

}  // namespace

GpuReceiver::GpuReceiver(Consumer& consumer, const GpuDevice& device, Limits limits, SequenceCheck& sequences,
                         const std::optional<std::string>& handler, Progress& progress, Tally& tally)
    : consumer_(consumer),
      device_(device),
      limits_(limits),
      sequences_(sequences),
      timer_(device),
      progress_(progress),
      tally_(tally) {
  if (handler) checker_.emplace(device, *handler);
}

Ending GpuReceiver::run() {
  const Ending ending = receive_all();
  add_up();
  return ending;
}

Ending GpuReceiver::receive_all() {
  auto quiet_since = std::chrono::steady_clock::now();
  for (;;) {
    if (limits_.count != 0 && tally_.messages == limits_.count) return Ending::count;
    const Duration quiet = std::chrono::steady_clock::now() - quiet_since;
    if (quiet >= limits_.patience) return Ending::timeout;
    Duration patience = limits_.patience == kForever ? kForever : limits_.patience - quiet;
    if (progress_.active()) patience = std::min(patience, kProgressTick);
    // While a sample is pending, polls it often, so that its time is exact; after 1 ms without a message every ms,
    // since a producer may stall.
    if (timer_.pending()) patience = quiet < kSpinForSample ? Duration::zero() : kSpinForSample;
    auto message = cuda::receive(consumer_, device_.stream(), patience);
    if (message) take(*message);
    check_samples();
    progress_.update(tally_.messages, tally_.bytes);
    const Status status = message.status();
    if (status == Status::ok) {
      quiet_since = tally_.last;
    } else if (status == Status::full) {
      std::this_thread::yield();  // the GPU still reads all messages that the consumer may hold
    } else if (status != Status::empty && status != Status::timeout) {
      if (const auto ending = ending_of(status)) return *ending;
    }
  }
}

void GpuReceiver::take(const cuda::Message& message) {
  tally_.last = std::chrono::steady_clock::now();
  if (tally_.messages == 0) tally_.first = tally_.last;
  record_latency(tally_.received, message.published_at_ns(), since_epoch_ns(tally_.last));
  sequences_.see(message.producer(), message.sequence(), message.ticket(), false);
  if (checker_) checker_->check(message);
  if (tally_.messages % kSampling == 0 && !timer_.pending()) {
    if (checker_) checker_->copy_sums();
    timer_.mark(message.published_at_ns());
  }
  ++tally_.messages;
  tally_.bytes += message.length();
}

void GpuReceiver::check_samples() {
  if (!timer_.poll(tally_.checked) || !checker_ || complained_ || checker_->seen().bad_bytes == 0) return;
  log::error("bad bytes: {} by now, {} messages received", checker_->seen().bad_bytes, tally_.messages);
  complained_ = true;
}

// The only wait for the GPU.
void GpuReceiver::add_up() {
  if (checker_) checker_->copy_sums();
  device_.finish();
  if (tally_.messages != 0) tally_.last = std::chrono::steady_clock::now();
  if (!checker_) return;
  tally_.bad_bytes = checker_->seen().bad_bytes;
  tally_.lost = checker_->seen().lost;
  tally_.messages -= tally_.lost;
}

}  // namespace ipcq::program
