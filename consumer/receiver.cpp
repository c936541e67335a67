#include "receiver.hpp"

#include <algorithm>

namespace ipcq::program {
namespace {

// steady_clock is CLOCK_MONOTONIC, as Message::published_at_ns().
std::uint64_t since_epoch_ns(std::chrono::steady_clock::time_point time) {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(time.time_since_epoch()).count());
}

constexpr Duration kProgressTick = std::chrono::milliseconds(500);

}  // namespace

std::string_view to_string(Receiver::Ending ending) noexcept {
  switch (ending) {
    case Receiver::Ending::end:
      return "end";
    case Receiver::Ending::count:
      return "count";
    case Receiver::Ending::reader_gone:
      return "reader_gone";
    case Receiver::Ending::interrupted:
      return "interrupted";
    case Receiver::Ending::timeout:
      return "timeout";
    case Receiver::Ending::closed:
      return "closed";
    case Receiver::Ending::broker_died:
      return "broker_died";
  }
  return "?";
}

Receiver::Receiver(Consumer& consumer, Limits limits, SequenceCheck& sequences, Pattern4k* pattern, Output* output,
                   Progress& progress)
    : consumer_(consumer),
      limits_(limits),
      sequences_(sequences),
      pattern_(pattern),
      output_(output),
      progress_(progress) {}

Receiver::Ending Receiver::run() {
  std::vector<Message> batch(limits_.batch);
  for (;;) {
    std::size_t room = batch.size();
    if (limits_.count != 0) {
      if (messages_ == limits_.count) return Ending::count;
      room = static_cast<std::size_t>(std::min<std::uint64_t>(room, limits_.count - messages_));
    }
    // Only a progress line needs to wake up while nothing comes.
    const Duration patience =
        progress_.active() ? std::min(limits_.patience - waited_, kProgressTick) : limits_.patience;
    const auto [status, count] = consumer_.receive_many(std::span(batch).first(room), patience);
    if (count != 0) {
      waited_ = Duration::zero();
      if (!take(std::span(batch).first(count))) return Ending::reader_gone;
    }
    progress_.update(messages_, bytes_);
    if (status == Status::timeout) {
      waited_ += patience;
      if (waited_ < limits_.patience) continue;
    }
    if (const auto ending = ending_of(status)) return *ending;
  }
}

// False when the reader of the output has gone.
bool Receiver::take(std::span<Message> batch) {
  last_ = std::chrono::steady_clock::now();
  if (messages_ == 0) first_ = last_;
  const std::uint64_t now_ns = since_epoch_ns(last_);
  for (const Message& message : batch) {
    const std::uint64_t published = message.published_at_ns();
    if (published != 0) latencies_.record(now_ns > published ? now_ns - published : 0);
    sequences_.see(message.producer(), message.sequence(), message.ticket(), message.redeliveries() > 0);
    if (pattern_ != nullptr) bad_bytes_ += pattern_->bad_bytes(message.sequence(), message.bytes());
  }
  const auto count = [&](const Message& message) {
    ++messages_;
    bytes_ += message.bytes().size();
  };
  if (output_ == nullptr) {
    for (Message& message : batch) {
      count(message);
      static_cast<void>(message.release());  // a failure means that the broker is gone; the next receive says so
    }
    return true;
  }
  return output_->write(batch, count);
}

std::optional<Receiver::Ending> Receiver::ending_of(Status status) {
  switch (status) {
    case Status::end:
      return Ending::end;
    case Status::timeout:
    case Status::empty:
      return Ending::timeout;
    case Status::interrupted:
      return Ending::interrupted;
    case Status::peer_dead:
      return Ending::broker_died;
    case Status::closed:
      return Ending::closed;
    case Status::ok:
    case Status::full:  // cannot be: everything received is released before the next receive
    case Status::too_large:
    case Status::not_held:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace ipcq::program
