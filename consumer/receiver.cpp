#include "receiver.hpp"

#include <algorithm>
#include <vector>

namespace ipcq::program {

Receiver::Receiver(Consumer& consumer, Limits limits, SequenceCheck& sequences, Pattern4k* pattern, Output* output,
                   Progress& progress, Tally& tally)
    : consumer_(consumer),
      limits_(limits),
      sequences_(sequences),
      pattern_(pattern),
      output_(output),
      progress_(progress),
      tally_(tally) {}

Ending Receiver::run() {
  std::vector<Message> batch(limits_.batch);
  Duration waited = Duration::zero();
  for (;;) {
    std::size_t room = batch.size();
    if (limits_.count != 0) {
      if (tally_.messages == limits_.count) return Ending::count;
      room = static_cast<std::size_t>(std::min<std::uint64_t>(room, limits_.count - tally_.messages));
    }
    const Duration patience =
        progress_.active() ? std::min(limits_.patience - waited, kProgressTick) : limits_.patience;
    const auto [status, count] = consumer_.receive_many(std::span(batch).first(room), patience);
    if (count != 0) {
      waited = Duration::zero();
      if (const auto ending = take(std::span(batch).first(count))) return *ending;
    }
    progress_.update(tally_.messages, tally_.bytes);
    if (status == Status::timeout) {
      waited += patience;
      if (waited < limits_.patience) continue;
    }
    if (const auto ending = ending_of(status)) return *ending;
  }
}

// Processes one batch. Returns how the output has ended the run; none if it goes on.
std::optional<Ending> Receiver::take(std::span<Message> batch) {
  tally_.last = std::chrono::steady_clock::now();
  if (tally_.messages == 0) tally_.first = tally_.last;
  const std::uint64_t now_ns = since_epoch_ns(tally_.last);
  // Not called for messages that go back to the queue: their next consumer counts them.
  const auto count = [&](const Message& message) {
    record_latency(tally_.received, message.published_at_ns(), now_ns);
    sequences_.see(message.producer(), message.sequence(), message.ticket(), message.redeliveries() > 0);
    if (pattern_ != nullptr) tally_.bad_bytes += pattern_->bad_bytes(message.sequence(), message.bytes());
    ++tally_.messages;
    tally_.bytes += message.bytes().size();
  };
  if (output_ == nullptr) {
    for (Message& message : batch) {
      count(message);
      static_cast<void>(message.release());  // fails only when the broker is gone, as the next receive reports
    }
    return {};
  }
  switch (output_->write(batch, count)) {
    case Output::Written::all:
      return {};
    case Output::Written::reader_gone:
      return Ending::reader_gone;
    case Output::Written::stopped:
      return Ending::interrupted;
  }
  return {};
}

}  // namespace ipcq::program
