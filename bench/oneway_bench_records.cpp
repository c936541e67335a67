// Record batches between two processes: many payloads in one message.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "oneway_bench.hpp"

namespace ipcq::bench {

double record_rate(Wait wait) {
  constexpr std::size_t kRecordsPerBatch = 1256;  // a call of send_many() fills a batch of 64 KiB
  constexpr std::size_t kRecords = 40'000 * kRecordsPerBatch;
  const std::string& name = broker_name();
  const Peer peer([&] {
    auto session = connect({.broker = name, .wait_for = std::chrono::seconds(5)});
    auto out = session.producer("stream", {.wait = wait, .wait_for = std::chrono::seconds(5)});
    std::vector<std::uint64_t> words(kRecordsPerBatch * kRecordBytes / 8);
    std::vector<std::span<const std::byte>> batch;
    for (std::size_t i = 0; i < kRecordsPerBatch; ++i)
      batch.push_back(std::as_bytes(std::span(words).subspan(i * kRecordBytes / 8, kRecordBytes / 8)));
    for (std::uint64_t n = 0; n < kRecords; n += kRecordsPerBatch) {
      for (std::size_t i = 0; i < kRecordsPerBatch; ++i) fill(words.data() + i * kRecordBytes / 8, kRecordBytes, n + i);
      if (out.send_many(batch).status != Status::ok) fail("batch not sent");
    }
  });
  Broker broker({.name = name});
  broker.create("stream", {.slots = 16, .size = 64 << 10, .batch = Batch::records});
  auto session = connect({.broker = name});
  auto in = session.consumer("stream", {.wait = wait});
  Stopwatch watch;
  std::uint64_t n = 0;
  const auto see = [&](const MessageView& record) {
    check(record.bytes(), kRecordBytes, n);
    watch.received(n++);
  };
  while (n < kRecords) {
    if (in.consume(see, kForever, kRecordsPerBatch).status != Status::ok) fail("not received");
  }
  return watch.rate(kRecords);
}

}  // namespace ipcq::bench
