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
  // Acquire: the last holder has moved its message away (change()).
  while (free != batches_ && open_[free].state.load(std::memory_order_acquire) != 0) ++free;
  if (free == batches_) return Opened::too_many;
  OpenBatch& batch = open_[free];
  batch.whole = std::move(whole);
  batch.state.store(kShown, std::memory_order_release);
  shown_ = free;
  view_ = batch.whole;
  index_ = index;
  next_ = 0;
  end_ = sizeof(RecordsHead);
  drops_ = Records::has_dropped(view_.m_.data);
  if (drops_) pass_over_dropped();
  first_ = next_;
  if (view_.m_.redeliveries == 0) show_more_records(more_records_ + (index.size() - 1));
  return Opened::yes;
}

Status RecordReader::advance(Message& other, Deadline& deadline) noexcept {
  for (std::uint64_t passed = 0;;) {
    if (core_.is_unusable()) return Status::closed;
    if (core_.is_consuming()) return Status::full;
    if (shown_ != kNoBatch && has_next()) return Status::ok;
    leave(false);
    if (const Status s = core_.receive_message(other, deadline); s != Status::ok) return s;
    switch (open(other)) {
      case Opened::yes:
        if (next_ == index_.size()) {  // the handler has dropped all of it
          leave(false);
          if (core_.goes_on_after(passed)) continue;
          if (const Status s = core_.message_wait_.go_on(deadline); s != Status::ok) return s;
          continue;
        }
        return Status::ok;
      case Opened::none:
        return Status::ok;
      case Opened::too_many:
        core_.take_back(other);
        core_.show_counters();
        return Status::full;
      case Opened::damaged:
        break;
    }
    core_.uncount(other);
    ++core_.damaged_;
    core_.show_counters();
    (void)core_.release(other);
    if (const Status s = core_.message_wait_.go_on(deadline); s != Status::ok) return s;
  }
}

void RecordReader::show_more_records(std::uint64_t count) noexcept {
  more_records_ = count;
  core_.endpoint_.more_records.store(count, std::memory_order_relaxed);
}

Message RecordReader::vacate(OpenBatch& batch) noexcept {
  Message whole = std::move(batch.whole);
  batch.state.store(0, std::memory_order_release);
  return whole;
}

template <class Next>
Status RecordReader::change(OpenBatch& batch, const Next& next) noexcept {
  std::uint32_t seen = batch.state.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint32_t state = next(seen);
    if (state == seen) return Status::ok;
    const bool ends = (state & (kHeld | kEnding)) == 0 && ((state & kShown) == 0 || (state & kBack) != 0);
    // Acquire and release: who ends the batch has seen what the others did with their records.
    if (!batch.state.compare_exchange_weak(seen, ends ? state | kEnding : state, std::memory_order_acq_rel)) continue;
    if (!ends) return Status::ok;
    Message whole = vacate(batch);
    return (state & (kBack | kDamaged)) == kBack ? core_.nack(whole) : core_.release(whole);
  }
}

// In line: all of what is done for a record that a callback sees.
template <bool MayDrop>
[[gnu::always_inline]] inline bool RecordReader::next(MessageView& record) noexcept {
  if (!has_next()) return false;
  RecordPlace place;
  if (!index_.get_from(end_, next_, place)) [[unlikely]] {
    leave(false, true);
    return false;
  }
  record.m_.data = view_.m_.data + place.at;
  record.m_.length = place.length;
  record.m_.record = next_++;
  const std::uint8_t whole = view_.m_.flaw;  // without kRefused: it tells of the refused records alone
  record.m_.flaw = place.refused ? whole | MessageView::kRefused : (whole & MessageView::kRefused) != 0 ? whole : 0;
  before_ = end_;
  end_ = place.at + place.length;
  if (MayDrop && drops_) pass_over_dropped();
  return true;
}

void RecordReader::pass_over_dropped() noexcept {
  RecordPlace place;
  while (next_ != index_.size() && index_.get_from(end_, next_, place) && place.dropped) {
    ++next_;
    end_ = place.at + place.length;
  }
}

void RecordReader::leave(bool given_back, bool damaged) noexcept {
  if (shown_ == kNoBatch) return;
  bool counted = false;
  (void)change(open_[std::exchange(shown_, kNoBatch)], [&](std::uint32_t state) {
    counted = damaged && (state & (kShown | kBack | kEnding)) == kShown;
    if ((state & kShown) == 0 || (state & kEnding) != 0) return state;  // over already
    return (state & ~kShown) | (given_back ? kBack : 0) | (counted ? kDamaged : 0);
  });
  if (!counted) return;
  ++core_.damaged_;
  core_.show_counters();
}

Status RecordReader::end_record(std::uint32_t entry, bool given_back) noexcept {
  return change(open_[entry & ~kRecordBit],
                [&](std::uint32_t state) { return (state - 1) | (given_back ? kBack : 0); });
}

void RecordReader::put_back(std::uint32_t entry, std::uint32_t record) noexcept {
  const std::uint32_t number = entry & ~kRecordBit;
  OpenBatch& batch = open_[number];
  std::uint32_t alone = next_ == index_.size() ? 1 : 1 | kShown;  // no other record of it is held
  if (record == first_ && batch.state.compare_exchange_strong(alone, kEnding)) {
    shown_ = kNoBatch;  // nothing of it was shown: the group's next, as a whole
    Message whole = vacate(batch);
    if (whole.m_.redeliveries == 0) show_more_records(more_records_ - (index_.size() - 1));
    core_.take_back(whole);
    return;
  }
  shown_ = number;
  next_ = record;
  end_ = before_;
  (void)change(batch, [](std::uint32_t state) { return (state - 1) | kShown; });
}

void RecordReader::stop() noexcept { leave(true); }

bool RecordReader::hold(std::uint32_t batch, bool last) noexcept {
  std::uint32_t seen = open_[batch].state.load(std::memory_order_relaxed);
  while ((seen & (kShown | kBack)) == kShown) {
    const std::uint32_t state = (last ? seen & ~kShown : seen) + 1;
    if (!open_[batch].state.compare_exchange_weak(seen, state, std::memory_order_relaxed)) continue;
    if (last) shown_ = kNoBatch;
    return true;
  }
  return false;
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
    record.m_ = view_.m_;
    if (!next<true>(record) || !hold(batch, next_ == index_.size())) {
      leave(false);
      record.forget();
      if (const Status s = core_.message_wait_.go_on(deadline); s != Status::ok) return s;
      continue;
    }
    record.hold_ = {&core_, kRecordBit | batch, 0, static_cast<std::uint8_t>(std::uncaught_exceptions())};
    return Status::ok;
  }
}

BatchResult RecordReader::receive_many(std::span<Message> records, Deadline& deadline) noexcept {
  constexpr std::size_t kMost = 256;  // as Consumer::receive_many() says
  BatchResult result;
  Deadline no_time = Deadline::none();
  for (Message& record : records.first(std::min(records.size(), kMost))) {
    const bool first = result.count == 0;
    Message received;
    const Status s = receive(received, first ? deadline : no_time);
    if (s != Status::ok) {
      if (first) result.status = s;
      break;
    }
    record = std::move(received);  // releases what it held
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
    if (!wanted || result.count != 0) continue;
    result.status = core_.message_wait_.go_on(deadline);  // a batch of which nothing could be shown
    if (result.status != Status::ok) break;
  }
  return result;
}

template <bool MayDrop>
bool RecordReader::show_some(const MessageCallback& callback, std::size_t limit, std::size_t& count, bool& more) {
  bool wanted = true;
  MessageView record = view_;
  while (wanted && count < limit && (more = next<MayDrop>(record))) {
    wanted = callback.call(callback.object, record);
    ++count;
    if (core_.is_unusable()) return false;  // closed by the callback: the batch is the group's again
  }
  return wanted;
}

bool RecordReader::show_batch(const MessageCallback& callback, std::size_t limit, std::size_t& count) {
  const std::uint32_t batch = shown_;
  // Held meanwhile: else another thread that gives a record back would end the batch under the callback.
  if (!hold(batch, false)) return true;
  bool wanted = true;
  bool more = true;
  try {
    wanted = drops_ ? show_some<true>(callback, limit, count, more) : show_some<false>(callback, limit, count, more);
  } catch (...) {
    if (!core_.is_unusable()) (void)end_record(batch, true);
    throw;
  }
  if (core_.is_unusable()) return false;
  if (!more || next_ == index_.size()) leave(false);
  (void)end_record(batch, false);
  return wanted;
}

bool RecordReader::show_other(const MessageCallback& callback, Message& message, std::size_t& count) {
  const bool wanted = callback.call(callback.object, message);  // if it throws, the destructor gives the message back
  ++count;
  (void)message.release();
  return wanted && !core_.is_unusable();
}

}  // namespace ipcq::detail
