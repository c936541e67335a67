// Messages through a queue on the GPU: producer and consumer in processes of their own, the broker in this one.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <span>
#include <vector>

#include "common/clock.hpp"
#include "common/many.hpp"
#include "common/numbered.hpp"
#include "common/peer.hpp"
#include "gpu_bench.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq::bench {

namespace {

constexpr std::size_t kBytes = 48;

void latency(benchmark::State& state, const char* name, ExecutorKind executor) {
  const SharedMemory<std::uint64_t> ns(scaled(executor == ExecutorKind::stream ? 50'000 : 200'000));
  for (auto _ : state) measure_latency("identity", executor, 0, ns.values());
  report_latency(state, name, ns.values());
}

// What a producer process sends and a consumer process receives through a queue on the GPU; `receive` returns the rate.
template <class Send, class Receive>
void stream(benchmark::State& state, const char* name, const char* counter, const QueueOptions& options, Send send,
            Receive receive) {
  const SharedMemory<double> rate;
  for (auto _ : state) {
    Peer consumer([&] {
      auto session = attach();
      auto in = attach_consumer(session, Wait::spin());
      *rate = receive(in);
    });
    Peer producer([&] {
      auto session = attach();
      auto out = attach_producer(session, Wait::spin());
      send(out);
    });
    const Broker broker = start_broker(options);
    producer.join();
    consumer.join();
  }
  report_figure(state, name, counter, *rate);
}

void bulk(benchmark::State& state, const char* name, std::size_t bytes, std::size_t messages, ExecutorKind executor) {
  const std::size_t count = scaled(messages);
  const auto receive = [=](Consumer& in) {
    Clock::time_point start;
    for (std::size_t n = 0; n < count; ++n) {
      auto m = in.receive();
      if (!m || m->bytes().size() != bytes) fail("receive failed");
      if (n == 0) start = Clock::now();
      const std::byte* const data = m->bytes().data();
      if (std::memcmp(data, &n, sizeof n) != 0 || std::memcmp(data + bytes - sizeof n, &n, sizeof n) != 0) {
        fail("wrong message");
      }
    }
    return static_cast<double>(count - 1) * static_cast<double>(bytes) / seconds_since(start);
  };
  const auto send = [=](Producer& out) {
    for (std::size_t n = 0; n < count; ++n) {
      auto loan = out.loan();
      if (!loan) fail("no loan");
      std::memcpy(loan->bytes().data(), &n, sizeof n);
      std::memcpy(loan->bytes().data() + bytes - sizeof n, &n, sizeof n);
      if (loan->publish(bytes) != Status::ok) fail("not published");
    }
  };
  stream(state, name, "bytes_per_s",
         {.slots = bytes < 65536 ? 1024u : 64u,
          .size = bytes,
          .handler = "identity",
          .backend = "cuda",
          .executor = executor},
         send, receive);
}

}  // namespace

void measure_latency(const std::string& handler, ExecutorKind executor, std::uint64_t flipped,
                     std::span<std::uint64_t> ns) {
  struct Area {
    alignas(128) std::atomic<std::uint64_t> acknowledged;
  };
  const SharedMemory<Area> area;
  Peer consumer([&] {
    auto session = attach();
    auto in = attach_consumer(session, Wait::spin());
    for (std::size_t n = 0; n < ns.size(); ++n) {
      auto m = in.receive();
      const std::uint64_t now = now_ns();
      if (!m) fail("receive failed");
      std::uint64_t stamp = 0;
      std::memcpy(&stamp, m->bytes().data(), sizeof stamp);
      ns[n] = now - (stamp ^ flipped);
      if (m->bytes().size() != kBytes || ns[n] > now || m->release() != Status::ok) fail("wrong message");
      area->acknowledged.store(n + 1, std::memory_order_release);
    }
  });
  Peer producer([&] {
    auto session = attach();
    auto out = attach_producer(session, Wait::spin());
    std::byte message[kBytes] = {};
    for (std::size_t n = 0; n < ns.size(); ++n) {
      const std::uint64_t stamp = now_ns();
      std::memcpy(message, &stamp, sizeof stamp);
      if (out.send(message) != Status::ok) fail("send failed");
      while (area->acknowledged.load(std::memory_order_acquire) != n + 1) __builtin_ia32_pause();
    }
  });
  const Broker broker = start_broker({.slots = 0, .handler = handler, .backend = "cuda", .executor = executor});
  producer.join();
  consumer.join();
}

void latency_call(benchmark::State& state) {
  const SharedMemory<std::uint64_t> ns(scaled(200'000));
  for (auto _ : state) {
    Peer caller([&] {
      auto session = attach();
      auto client = session.client("stream", {.wait = Wait::spin(), .wait_for = std::chrono::seconds(60)});
      std::byte message[kBytes] = {};
      for (std::size_t n = 0; n < ns.values().size(); ++n) {
        const std::uint64_t start = now_ns();
        std::memcpy(message, &start, sizeof start);
        auto call = client.request(message);
        if (!call) fail("request not sent");
        const auto reply = call->receive();
        ns[n] = now_ns() - start;
        if (!reply || reply->length() != kBytes || std::memcmp(reply->bytes().data(), message, kBytes) != 0) {
          fail("wrong reply");
        }
      }
    });
    const Broker broker = start_broker(
        {.slots = 0, .handler = "identity", .backend = "cuda", .executor = ExecutorKind::persistent, .calls = 16});
    caller.join();
  }
  report_latency(state, "latency/call", ns.values());
}

void latency_persistent(benchmark::State& state) { latency(state, "latency/persistent", ExecutorKind::persistent); }
void latency_stream(benchmark::State& state) { latency(state, "latency/stream", ExecutorKind::stream); }

namespace {

QueueOptions line_queue() {
  return {.slots = 0,
          .lines = kLines,
          .handler = "identity",
          .backend = "cuda",
          .executor = ExecutorKind::persistent,
          .held = kBatch};
}

}  // namespace

void inline_ipcq(benchmark::State& state) {
  const std::size_t count = scaled(20'000'000) / kBatch * kBatch;
  const auto receive = [=](Consumer& in) {
    std::vector<Message> batch(kBatch);
    Clock::time_point start;
    for (std::size_t n = 0; n < count;) {
      const auto got = in.receive_many(batch);
      if (got.status != Status::ok) fail("receive failed");
      if (n == 0) start = Clock::now();
      check_numbered(std::span(batch.data(), got.count), n);
    }
    return static_cast<double>(count) / seconds_since(start);
  };
  const auto send = [=](Producer& out) { send_numbered<kBatch, kBytes>(out, count); };
  stream(state, "inline/ipcq", "messages_per_s", line_queue(), send, receive);
}

void inline_6x6(benchmark::State& state) {
  constexpr unsigned kEach = 6;
  const std::size_t count = std::max(scaled(20'000'000) / (kEach * kBatch), std::size_t{1}) * kEach * kBatch;
  double rate = 0;
  for (auto _ : state) rate = many_rate<kEach, kEach, kBytes, kBatch>(Wait::spin(), count, line_queue());
  report_figure(state, "inline/6x6", "messages_per_s", rate);
}

void records_ipcq(benchmark::State& state) {
  constexpr std::size_t kRecords = 1256;  // in a batch of 64 KiB
  const std::size_t count = scaled(40'000) * kRecords;
  const auto receive = [=](Consumer& in) {
    Clock::time_point start;
    std::size_t n = 0;
    const auto see = [&](const MessageView& record) {
      if (n == 0) start = Clock::now();
      if (record.length() != kBytes || std::memcmp(record.bytes().data(), &n, sizeof n) != 0) fail("wrong record");
      ++n;
    };
    while (n < count) {
      if (in.consume(see, kForever, kRecords).status != Status::ok) fail("receive failed");
    }
    return static_cast<double>(count) / seconds_since(start);
  };
  const auto send = [=](Producer& out) { send_numbered<kRecords, kBytes>(out, count); };
  stream(state, "records/ipcq", "records_per_s",
         {.slots = 64,
          .size = 64 << 10,
          .batch = Batch::records,
          .handler = "identity",
          .backend = "cuda",
          .executor = ExecutorKind::persistent},
         send, receive);
}

void bulk_4k(benchmark::State& state) { bulk(state, "bulk/4k", 4096, 400'000, ExecutorKind::persistent); }
void bulk_1m(benchmark::State& state) { bulk(state, "bulk/1m", 1u << 20, 20'000, ExecutorKind::persistent); }
void bulk_1m_stream(benchmark::State& state) { bulk(state, "bulk/1m_stream", 1u << 20, 20'000, ExecutorKind::stream); }

}  // namespace ipcq::bench
