#include "client/record_reader.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "client/consumer_core.hpp"
#include "client/consuming.hpp"

namespace ipcq::detail {

void show_records(ConsumerCore& core) {
  const QueueMap& queue = *core.queue();
  if (queue.packs_records()) {
    core.use_records(std::make_unique<RecordReader>(core, queue.config().held_per_endpoint));
  }
}

RecordReader::RecordReader(ConsumerCore& core, std::uint32_t held)
    : core_(core), batches_(held), open_(std::make_unique<OpenBatch[]>(held)) {}

RecordReader::~RecordReader() {
  for (std::uint32_t i = 0; i < batches_; ++i) open_[i].whole.forget();  // the endpoint is closed
}

RecordReader::Opened RecordReader::open(Message& whole) noexcept {
  if ((core_.descriptor(whole).flags & kRecords) == 0 || whole.m_.data == nullptr) return Opened::none;
  const Records index(whole.m_.data, whole.m_.length);
  if (index.size() == 0) return Opened::damaged;
  std::uint32_t free = 0;
  while (free != batches_ && open_[free].in_use.load(std::memory_order_acquire)) ++free;
  if (free == batches_) return Opened::too_many;
  OpenBatch& batch = open_[free];
  batch.whole = std::move(whole);
  batch.in_use.store(true, std::memory_order_relaxed);
  batch.given_back.store(false, std::memory_order_relaxed);
  batch.left.store(1, std::memory_order_relaxed);
  shown_ = free;
  view_ = batch.whole;
  index_ = index;
  next_ = 0;
  end_ = sizeof(RecordsHead);
  if (view_.m_.redeliveries == 0) {
    more_records_ += index.size() - 1;
    core_.endpoint_.more_records.store(more_records_, std::memory_order_relaxed);
  }
  return Opened::yes;
}

Status RecordReader::advance(Message& other, Deadline& deadline) noexcept {
  for (;;) {
    if (core_.is_unusable()) return Status::closed;
    if (core_.is_consuming()) return Status::full;
    if (shown_ != kNoBatch) return Status::ok;
    if (const Status s = core_.receive_message(other, deadline); s != Status::ok) return s;
    switch (open(other)) {
      case Opened::yes:
      case Opened::none:
        return Status::ok;
      case Opened::too_many:
        core_.take_back(other);
        core_.show_counters();
        return Status::full;
      case Opened::damaged:
        break;
    }
    ++core_.damaged_;
    core_.show_counters();
    (void)core_.release(other);
    if (const Status s = core_.message_wait_.go_on(deadline); s != Status::ok) return s;
  }
}

// In line: all of what is done for a record that a callback sees.
[[gnu::always_inline]] inline bool RecordReader::next(MessageView& record) noexcept {
  if (open_[shown_].given_back.load(std::memory_order_relaxed) || next_ == index_.size()) return false;
  RecordPlace place;
  if (!index_.get_from(end_, next_, place)) [[unlikely]] {
    ++core_.damaged_;
    core_.show_counters();
    return false;
  }
  record.m_.data = view_.m_.data + place.at;
  record.m_.length = place.length;
  record.m_.record = next_++;
  record.m_.processed = !place.refused;
  before_ = end_;
  end_ = place.at + place.length;
  return true;
}

void RecordReader::leave(bool given_back) noexcept { (void)end_record(std::exchange(shown_, kNoBatch), given_back); }

Status RecordReader::end_record(std::uint32_t entry, bool given_back) noexcept {
  OpenBatch& batch = open_[entry & ~kRecordBit];
  if (given_back) batch.given_back.store(true, std::memory_order_relaxed);
  if (batch.left.fetch_sub(1, std::memory_order_acq_rel) != 1) return Status::ok;
  Message whole = std::move(batch.whole);
  const bool back = batch.given_back.load(std::memory_order_relaxed);
  batch.in_use.store(false, std::memory_order_release);
  return back ? core_.nack(whole) : core_.release(whole);
}

void RecordReader::put_back(std::uint32_t entry, std::uint32_t record) noexcept {
  const bool is_shown = shown_ != kNoBatch;  // else the record was the last, and its hold is the showing's now
  shown_ = entry & ~kRecordBit;
  next_ = record;
  end_ = before_;
  if (is_shown) open_[shown_].left.fetch_sub(1, std::memory_order_relaxed);
}

void RecordReader::stop() noexcept {
  if (shown_ != kNoBatch) leave(true);
}

Status RecordReader::receive(Message& record, Deadline& deadline) noexcept {
  for (;;) {
    Message other;
    if (const Status s = advance(other, deadline); s != Status::ok) return s;
    if (other) {
      record = std::move(other);
      return Status::ok;
    }
    const std::uint32_t batch = shown_;
    if (!next(record)) {
      leave(false);
      continue;
    }
    record.m_.sequence = view_.m_.sequence;
    record.m_.ticket = view_.m_.ticket;
    record.m_.published_at_ns = view_.m_.published_at_ns;
    record.m_.producer = view_.m_.producer;
    record.m_.redeliveries = view_.m_.redeliveries;
    record.hold_ = {&core_, kRecordBit | batch, 0, static_cast<std::uint8_t>(std::uncaught_exceptions())};
    if (next_ != index_.size()) {
      open_[batch].left.fetch_add(1, std::memory_order_relaxed);
    } else {
      shown_ = kNoBatch;  // the last: it takes over the showing's share
    }
    return Status::ok;
  }
}

BatchResult RecordReader::receive_many(std::span<Message> records, Deadline& deadline) noexcept {
  constexpr std::size_t kMost = 256;  // as Consumer::receive_many() says
  BatchResult result;
  Deadline no_time = Deadline::none();
  for (Message& record : records.first(std::min(records.size(), kMost))) {
    if (record) (void)record.release();
    const bool first = result.count == 0;
    const Status s = receive(record, first ? deadline : no_time);
    if (s != Status::ok) {
      if (first) result.status = s;
      break;
    }
    ++result.count;
  }
  return result;
}

BatchResult RecordReader::consume(const MessageCallback& callback, Deadline& deadline, std::size_t limit) {
  BatchResult result;
  Deadline no_time = Deadline::none();
  for (bool wanted = true; wanted && result.count < limit;) {
    const bool first = result.count == 0;
    Message other;
    const Status s = advance(other, first ? deadline : no_time);
    if (s != Status::ok) {
      if (first) result.status = s;
      break;
    }
    const Consuming callback_runs(core_.consuming_);
    wanted = other ? show_other(callback, other, result.count) : show_batch(callback, limit, result.count);
  }
  return result;
}

bool RecordReader::show_batch(const MessageCallback& callback, std::size_t limit, std::size_t& count) {
  bool wanted = true;
  bool more = true;
  MessageView record = view_;
  try {
    while (wanted && count < limit && (more = next(record))) {
      wanted = callback.call(callback.object, record);
      ++count;
      if (core_.closed_.load(std::memory_order_relaxed))
        return false;  // by the callback: the batch is the group's again
    }
  } catch (...) {
    if (!core_.is_unusable()) leave(true);
    throw;
  }
  if (!more || next_ == index_.size()) leave(false);
  return wanted;
}

bool RecordReader::show_other(const MessageCallback& callback, Message& message, std::size_t& count) {
  const bool wanted = callback.call(callback.object, message);  // if it throws, the destructor gives the message back
  ++count;
  (void)message.release();
  return wanted && !core_.is_unusable();
}

}  // namespace ipcq::detail
