// Catalogue: messages one way between two processes, of 64 B to 1 MiB, and of 64 B within one thread.
//
//   bare/single/BYTES     a ring of the same bytes and depth in shared memory (common/bare_ring.hpp): the floor
//   bare/batch/BYTES      the same, shown to the reader in batches of 128
//   single/BYTES/WAIT     one message a call: send, receive, release
//   batch/BYTES/WAIT      send_many and receive_many, up to 128 a call
//   into/BYTES/WAIT       one message a call: send, receive_into
//   consume/BYTES/WAIT    send_many, and consume of up to 128 a call
//   loan/BYTES/WAIT       loan, filled in place, published; received, read in place, released: what fits no line
//   records/48/WAIT       send_many and consume of 48 B in a queue with batch=records: batches of 64 KiB
//   many/PxC/single, batch  P producers and one group of C consumers, each a process, spinning; 64 B, up to 128 a call
//   bare/many/4x4       4 and 4 of a ring with one cursor for each side
//   thread/single, batch, into, consume  64 B, there and back in one thread: no cache line changes its owner
//
// WAIT is spin or hybrid, on both sides. The producer writes every word of a message, the consumer compares every word
// with the number that it must have. Timed from the first receipt to the last, in the consumer; "delivered" means
// received, read and released. Each case runs five times; its figure is the median.
//
// The last lines give the ratios.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "common/bare_ring.hpp"
#include "common/clock.hpp"
#include "common/oneway.hpp"
#include "common/peer.hpp"
#include "common/report.hpp"
#include "ipcq/ipcq.hpp"
#include "oneway_bench.hpp"

namespace ipcq::bench {

namespace {

constexpr std::size_t kDepth = 1024;
constexpr std::size_t kBatch = 128;
constexpr int kRuns = 5;
constexpr std::size_t kRecordBytes = 48;

// Enough for some tenths of a second.
constexpr std::size_t messages_of(std::size_t bytes) {
  return std::max<std::size_t>(4096, std::min<std::size_t>(4'000'000, (std::size_t{1} << 30) / bytes)) / kBatch *
         kBatch;
}
// No more slots than the caches hold well, where messages are large.
constexpr std::size_t depth_of(std::size_t bytes) {
  return std::max<std::size_t>(8, std::min<std::size_t>(kDepth, (std::size_t{8} << 20) / bytes));
}

template <std::size_t Bytes>
double bare_single(Wait) {
  constexpr std::size_t count = messages_of(Bytes);
  BareRing<Bytes, depth_of(Bytes)> ring;
  const Peer peer([&] {
    for (std::uint64_t n = 0; n < count; ++n) {
      ring.send([n](std::uint64_t* words) { fill(words, Bytes, n); });
    }
  });
  Stopwatch watch;
  for (std::uint64_t n = 0; n < count; ++n) {
    ring.receive([n](const std::uint64_t* words) { check(words, Bytes, n); });
    watch.received(n);
  }
  return watch.rate(count);
}

template <std::size_t Bytes>
double bare_batch(Wait) {
  constexpr std::size_t count = messages_of(Bytes);
  BareRing<Bytes, depth_of(Bytes)> ring;
  const Peer peer([&] {
    for (std::uint64_t n = 0; n < count; n += kBatch) {
      ring.send_batch(kBatch, [n](std::uint64_t* words, std::size_t i) { fill(words, Bytes, n + i); });
    }
  });
  Stopwatch watch;
  for (std::uint64_t n = 0; n < count;) {
    const std::size_t got =
        ring.receive_batch([n](const std::uint64_t* words, std::size_t i) { check(words, Bytes, n + i); });
    watch.received(n);
    n += got;
  }
  return watch.rate(count);
}

// The shortest line that holds the message; 0: it needs a slot.
constexpr std::uint32_t line_of(std::size_t bytes) {
  const std::size_t line = std::max<std::size_t>(128, (bytes + 32 + 63) / 64 * 64);
  return line <= 2048 ? static_cast<std::uint32_t>(line) : 0;
}

QueueOptions queue_of(std::size_t bytes) {
  const auto slots = static_cast<std::uint32_t>(line_of(bytes) == 0 ? depth_of(bytes) : 0);
  return {.slots = slots, .size = bytes, .lines = kDepth, .line = slots == 0 ? line_of(bytes) : 128, .held = kBatch};
}

template <std::size_t Bytes, class Send, class Receive>
double size_rate(Wait wait, Send send, Receive receive) {
  return queue_rate(wait, messages_of(Bytes), queue_of(Bytes), send, receive);
}

template <std::size_t Bytes>
void send_loans(Producer& out, std::size_t count, std::uint64_t first) {
  for (std::uint64_t n = first; n < first + count; ++n) {
    auto loan = out.loan();
    if (!loan) fail("no loan");
    fill(reinterpret_cast<std::uint64_t*>(loan->bytes().data()), Bytes, n);
    if (loan->publish(Bytes) != Status::ok) fail("not published");
  }
}

template <std::size_t Bytes>
double receive_single(Consumer& in, std::size_t count) {
  Stopwatch watch;
  for (std::uint64_t n = 0; n < count; ++n) {
    auto message = in.receive();
    if (!message) fail("not received");
    check(message->bytes(), Bytes, n);
    if (message->release() != Status::ok) fail("not released");
    watch.received(n);
  }
  return watch.rate(count);
}

template <std::size_t Bytes>
double receive_batches(Consumer& in, std::size_t count) {
  Stopwatch watch;
  std::vector<Message> batch(kBatch);
  for (std::uint64_t n = 0; n < count;) {
    const auto got = in.receive_many(batch);
    if (got.status != Status::ok) fail("batch not received");
    for (Message& message : std::span(batch).first(got.count)) {
      check(message.bytes(), Bytes, n);
      if (message.release() != Status::ok) fail("not released");
      watch.received(n++);
    }
  }
  return watch.rate(count);
}

template <std::size_t Bytes>
double receive_into(Consumer& in, std::size_t count) {
  Stopwatch watch;
  alignas(8) std::byte buffer[Bytes];
  for (std::uint64_t n = 0; n < count; ++n) {
    const auto message = in.receive_into(buffer);
    if (!message) fail("not received");
    check(message->bytes(), Bytes, n);
    watch.received(n);
  }
  return watch.rate(count);
}

double record_rate(Wait wait) {
  constexpr std::size_t kRecords = 1256;  // a call of send_many() fills a batch of 64 KiB
  return queue_rate(wait, 40'000 * kRecords, {.slots = 16, .size = 64 << 10, .batch = Batch::records},
                    send_batches<kRecordBytes, kRecords>, consume<kRecordBytes, kRecords>);
}

template <std::size_t Bytes>
double single_rate(Wait wait) {
  return size_rate<Bytes>(wait, send_single<Bytes>, receive_single<Bytes>);
}
template <std::size_t Bytes>
double batch_rate(Wait wait) {
  return size_rate<Bytes>(wait, send_batches<Bytes, kBatch>, receive_batches<Bytes>);
}
template <std::size_t Bytes>
double into_rate(Wait wait) {
  return size_rate<Bytes>(wait, send_single<Bytes>, receive_into<Bytes>);
}
template <std::size_t Bytes>
double consume_rate(Wait wait) {
  return size_rate<Bytes>(wait, send_batches<Bytes, kBatch>, consume<Bytes, kBatch>);
}
template <std::size_t Bytes>
double loan_rate(Wait wait) {
  return size_rate<Bytes>(wait, send_loans<Bytes>, receive_single<Bytes>);
}

// One thread: what the protocol itself costs. A batch of messages is sent, then received.
template <class Send, class Receive>
double thread_rate(Send send, Receive receive) {
  constexpr std::size_t kMessages = 2'000'000;
  const Broker broker = start_broker(queue_of(64));
  auto session = attach();
  auto out = attach_producer(session, Wait::spin());
  auto in = attach_consumer(session, Wait::spin());
  const auto start = Clock::now();
  for (std::size_t n = 0; n < kMessages; n += kBatch) {
    send(out, kBatch, 0);
    receive(in, kBatch);
  }
  return kMessages / seconds_since(start);
}
double thread_single(Wait) { return thread_rate(send_single<64>, receive_single<64>); }
double thread_batch(Wait) { return thread_rate(send_batches<64, kBatch>, receive_batches<64>); }
double thread_into(Wait) { return thread_rate(send_single<64>, receive_into<64>); }
double thread_consume(Wait) { return thread_rate(send_batches<64, kBatch>, consume<64, kBatch>); }

void run(benchmark::State& state, const std::string& name, double (*rate)(Wait), Wait wait) {
  std::vector<double> rates;
  for (auto _ : state) {
    for (int i = 0; i < kRuns; ++i) rates.push_back(rate(wait));
  }
  report_figure(state, name, "messages_per_s", median(rates));
  state.counters["lowest"] = *std::min_element(rates.begin(), rates.end());
  state.counters["highest"] = *std::max_element(rates.begin(), rates.end());
}

void add(const std::string& name, double (*rate)(Wait), Wait wait) {
  benchmark::RegisterBenchmark(name.c_str(), run, name, rate, wait)->Iterations(1)->Unit(benchmark::kMillisecond);
}

template <std::size_t Bytes>
void add_size() {
  const std::string bytes = std::to_string(Bytes);
  add("bare/single/" + bytes, bare_single<Bytes>, Wait::spin());
  if constexpr (Bytes <= 4096) add("bare/batch/" + bytes, bare_batch<Bytes>, Wait::spin());
  for (const auto& [name, wait] : {std::pair{"/spin", Wait::spin()}, std::pair{"/hybrid", Wait::hybrid()}}) {
    add("single/" + bytes + name, single_rate<Bytes>, wait);
    if constexpr (Bytes <= 4096) add("batch/" + bytes + name, batch_rate<Bytes>, wait);
    if constexpr (Bytes <= 256) {
      add("into/" + bytes + name, into_rate<Bytes>, wait);
      add("consume/" + bytes + name, consume_rate<Bytes>, wait);
    }
    if constexpr (line_of(Bytes) == 0) add("loan/" + bytes + name, loan_rate<Bytes>, wait);
  }
}

void print_last_lines() {
  const Summary lines(58, 7);
  lines.ratio("64 B, one a call: ipcq / bare ring", "single/64/spin", "bare/single/64", at_least(0.55));
  lines.ratio("64 B, batches: ipcq / bare ring", "batch/64/spin", "bare/batch/64", at_least(0.6));
  lines.ratio("64 B, one a call, copied: ipcq / bare ring", "into/64/spin", "bare/single/64", at_least(0.55));
  lines.ratio("64 B, batches, shown: ipcq / bare ring", "consume/64/spin", "bare/batch/64", at_least(0.6));
  lines.ratio("48 B, record batches: ipcq / bare ring in batches", "records/48/spin", "bare/batch/48");
  lines.figure("48 B, record batches", "records/48/spin", 1e6, "M/s", at_least(150));
  lines.ratio("64 B, 4 x 4 in batches / 1 x 1 in batches", "many/4x4/batch", "many/1x1/batch", at_least(1));
  lines.ratio("64 B, 4 x 4, one a call: ipcq / bare 4 x 4", "many/4x4/single", "bare/many/4x4", at_least(0.6));
  lines.ratio("64 B, 1 x 16 / 1 x 1, in batches", "many/1x16/batch", "many/1x1/batch", at_least(0.5));
  lines.ratio("64 B, 16 x 1 / 1 x 1, in batches", "many/16x1/batch", "many/1x1/batch", at_least(0.5));
  lines.ratio("64 B, batches: spinning / hybrid", "batch/64/spin", "batch/64/hybrid", at_least(1));
  for (const char* bytes : {"256", "1024", "4096", "65536", "1048576"}) {
    const std::string how = line_of(std::stoul(bytes)) != 0 ? "single/" : "loan/";
    lines.ratio((std::string(bytes) + " B: ipcq / bare ring").c_str(), (how + bytes + "/spin").c_str(),
                (std::string("bare/single/") + bytes).c_str(), at_least(0.97));
  }
}

}  // namespace

}  // namespace ipcq::bench

int main(int argc, char** argv) {
  using namespace ipcq::bench;
  add("thread/single", thread_single, ipcq::Wait::spin());
  add("thread/batch", thread_batch, ipcq::Wait::spin());
  add("thread/into", thread_into, ipcq::Wait::spin());
  add("thread/consume", thread_consume, ipcq::Wait::spin());
  add("bare/batch/48", bare_batch<kRecordBytes>, ipcq::Wait::spin());
  add("records/48/spin", record_rate, ipcq::Wait::spin());
  add("records/48/hybrid", record_rate, ipcq::Wait::hybrid());
  const auto add_many = [cores = std::thread::hardware_concurrency()](const std::string& name,
                                                                      double (*rate)(ipcq::Wait), unsigned processes) {
    if (cores >= processes) add(name, rate, ipcq::Wait::spin());  // with fewer it would be the scheduler's figure
  };
  add_many("bare/many/4x4", bare_many_4x4, 8);
  add_many("many/1x1/single", many_rate<1, 1, 1>, 2);
  add_many("many/1x1/batch", many_rate<1, 1, 128>, 2);
  add_many("many/4x4/single", many_rate<4, 4, 1>, 8);
  add_many("many/4x4/batch", many_rate<4, 4, 128>, 8);
  add_many("many/1x16/batch", many_rate<1, 16, 128>, 16);  // the broker's process only waits
  add_many("many/16x1/batch", many_rate<16, 1, 128>, 16);
  add_size<64>();
  add_size<256>();
  add_size<1024>();
  add_size<4096>();
  add_size<65536>();
  add_size<1048576>();
  return run_benchmarks(argc, argv, print_last_lines);
}
