#include "client/record_packer.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "base/copy_bytes.hpp"
#include "client/producer_core.hpp"

namespace ipcq::detail {

void pack_records(ProducerCore& core) {
  const bool can_pack = core.pool()->has_host_payloads() && core.slot_bytes() != 0;
  if (core.queue()->packs_records() && can_pack) core.use_records(std::make_unique<RecordPacker>(core));
}

RecordPacker::RecordPacker(ProducerCore& core) noexcept
    : core_(core), capacity_(std::min<std::size_t>(core.slot_bytes(), Records::kMostBytes)) {}

BatchResult RecordPacker::send(std::span<const std::span<const std::byte>> payloads, Deadline& deadline,
                               bool more) noexcept {
  if (payloads.size() == 1 && data_ == nullptr && !more) {
    const Status s = core_.send_any(payloads.front(), deadline);
    return {s, s == Status::ok ? std::size_t{1} : 0};
  }
  deadline.start();
  const BatchResult result = send_payloads(payloads, deadline, more);
  if (result.status != Status::ok) abandon();
  return result;
}

BatchResult RecordPacker::send_payloads(std::span<const std::span<const std::byte>> payloads, Deadline& deadline,
                                        bool more) noexcept {
  BatchResult done;
  const auto publish_open = [&] {
    const std::uint32_t count = count_;
    done.status = publish(deadline);
    if (done.status == Status::ok) done.count += count;
    return done.status == Status::ok;
  };
  while (!payloads.empty()) {
    if (!fits_alone(payloads.front().size())) {
      if (data_ != nullptr && !publish_open()) return done;
      done.status = core_.send_any(payloads.front(), deadline);
      if (done.status != Status::ok) return done;
      ++done.count;
      payloads = payloads.subspan(1);
      continue;
    }
    if (data_ == nullptr) {
      done.status = open(deadline);
      if (done.status != Status::ok) return done;
    }
    payloads = payloads.subspan(add(payloads));
    if (!payloads.empty() && !publish_open()) return done;
  }
  if (!more && data_ != nullptr) (void)publish_open();
  return done;
}

Status RecordPacker::open(Deadline& deadline) noexcept {
  if (core_.is_unusable()) return Status::closed;
  if (const Status s = core_.borrow(deadline, slot_); s != Status::ok) return s;
  data_ = core_.pool_->payload(slot_.slot);
  end_ = sizeof(RecordsHead);
  count_ = 0;
  return Status::ok;
}

std::size_t RecordPacker::add(std::span<const std::span<const std::byte>> payloads) noexcept {
  const std::size_t room = capacity_ - Records::kAlignment - kWord;  // the index begins at a multiple of 16
  const std::size_t most = std::min<std::size_t>(payloads.size(), kMostRecords - count_);
  // Bytes: readers of the slot have its lines. 120 to 150 M records/s of 48 bytes, without it 105 to 130 (two
  // processes, AMD EPYC).
  constexpr std::size_t kFetchAhead = 512;
  std::byte* const data = data_;
  std::uint32_t end = end_;
  std::uint32_t count = count_;
  std::size_t added = 0;
  for (; added != most; ++added) {
    const std::span<const std::byte> payload = payloads[added];
    const std::uint32_t at = Records::aligned(end);
    if (at + payload.size() + count * kWord > room) break;
    if (at + kFetchAhead < room) SharedAtomics::prefetch_line_for_write(data + at + kFetchAhead);
    copy_bytes(data + at, payload.data(), payload.size());
    end = at + static_cast<std::uint32_t>(payload.size());
    ends_[count++] = end;
  }
  end_ = end;
  count_ = count;
  return added;
}

Status RecordPacker::publish(Deadline& deadline) noexcept {
  const std::uint32_t index_at = Records::aligned(end_);
  const RecordsHead head{count_, index_at, 0, 0};
  std::memcpy(data_, &head, sizeof head);
  std::memcpy(data_ + index_at, ends_, count_ * sizeof ends_[0]);
  if (const Status s = core_.publish_filled(slot_, index_at + count_ * kWord, kRecords, deadline); s != Status::ok)
    return s;
  data_ = nullptr;
  more_records_ += count_ - 1;
  core_.endpoint_.more_records.store(more_records_, std::memory_order_relaxed);
  return Status::ok;
}

void RecordPacker::abandon() noexcept {
  if (std::exchange(data_, nullptr) != nullptr) core_.give_back(slot_);
}

}  // namespace ipcq::detail
