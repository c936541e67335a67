// BrokerStats over the wire.
#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "control/stats_codec.hpp"
#include "errors.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::error_of;
using testing::HasSubstr;

// A value of its own in each field: one that is left out, or changes places with another, shows.
BrokerStats some_stats() {
  GroupStats g1{"g1", true, false, true, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
  GroupStats g2{"g2", false, true, false, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33};
  EndpointStats e{41, -42, 43, "consumer", "g1", "running", 44, 47, 45, 46};
  QueueStats q;
  q.name = "q";
  q.pool = std::string("p\0p", 3);
  q.handler = "invert";
  q.backend = "host";
  q.executor = "persistent";
  q.parked = true;
  q.paused = true;
  q.backpressure = "reject";
  q.state = "draining";
  q.slots = 51, q.slot_bytes = 52, q.lines = 53, q.published = 54, q.tombstones = 55, q.processed = 56;
  q.handler_errors = 57, q.publish_rate = 58.5;
  q.empty = 59, q.claimed = 60, q.ready = 61, q.inflight = 62, q.done = 63, q.reading = 64, q.quarantined = 65;
  q.producers_lost = 66, q.blocked_by_pid = 67, q.blocked_by_group = "g2";
  q.batch = "records", q.records = 68, q.line_bytes = 69, q.inline_bytes = 70;
  q.schema = "u8", q.result_schema = "u16", q.metadata_bytes = 78;
  q.groups = {g1, g2};
  q.endpoints = {e};
  BrokerStats s;
  s.name = "b", s.version = "0.1", s.pid = 71, s.uptime_ns = 72, s.shm_bytes = 73, s.abi = 74, s.clients = 75;
  s.deaths = 76, s.runner_deaths = 77;
  s.queues = {q, QueueStats{}};
  return s;
}

TEST(StatsCodec, EachFieldComesBack) {
  const BrokerStats s = decode_stats(encode(some_stats()));
  EXPECT_EQ(s.name, "b");
  EXPECT_EQ(s.version, "0.1");
  EXPECT_EQ(s.pid, 71);
  EXPECT_EQ(s.uptime_ns, 72u);
  EXPECT_EQ(s.shm_bytes, 73u);
  EXPECT_EQ(s.abi, 74u);
  EXPECT_EQ(s.clients, 75u);
  EXPECT_EQ(s.deaths, 76u);
  EXPECT_EQ(s.runner_deaths, 77u);
  ASSERT_EQ(s.queues.size(), 2u);
  EXPECT_EQ(s.queues[1].name, "");
  EXPECT_FALSE(s.queues[1].parked);
  EXPECT_TRUE(s.queues[1].groups.empty());
}

TEST(StatsCodec, EachFieldOfAQueueComesBack) {
  const QueueStats q = decode_stats(encode(some_stats())).queues.at(0);
  EXPECT_EQ(q.name, "q");
  EXPECT_EQ(q.pool, std::string("p\0p", 3));
  EXPECT_EQ(q.handler, "invert");
  EXPECT_EQ(q.backend, "host");
  EXPECT_EQ(q.executor, "persistent");
  EXPECT_TRUE(q.parked);
  EXPECT_TRUE(q.paused);
  EXPECT_EQ(q.backpressure, "reject");
  EXPECT_EQ(q.state, "draining");
  const std::uint64_t numbers[] = {q.slots,     q.slot_bytes,     q.lines,   q.published,  q.tombstones,
                                   q.processed, q.handler_errors, q.empty,   q.claimed,    q.ready,
                                   q.inflight,  q.done,           q.reading, q.quarantined};
  EXPECT_THAT(numbers, testing::ElementsAre(51, 52, 53, 54, 55, 56, 57, 59, 60, 61, 62, 63, 64, 65));
  EXPECT_EQ(q.publish_rate, 58.5);
  EXPECT_EQ(q.batch, "records");
  EXPECT_EQ(q.records, 68u);
  EXPECT_EQ(q.line_bytes, 69u);
  EXPECT_EQ(q.inline_bytes, 70u);
  EXPECT_EQ(q.schema, "u8");
  EXPECT_EQ(q.result_schema, "u16");
  EXPECT_EQ(q.metadata_bytes, 78u);
  EXPECT_EQ(q.producers_lost, 66u);
  EXPECT_EQ(q.blocked_by_pid, 67);
  EXPECT_EQ(q.blocked_by_group, "g2");
  ASSERT_EQ(q.endpoints.size(), 1u);
  const EndpointStats& e = q.endpoints[0];
  EXPECT_EQ(e.id, 41u);
  EXPECT_EQ(e.pid, -42);
  EXPECT_EQ(e.uid, 43u);
  EXPECT_EQ(e.role, "consumer");
  EXPECT_EQ(e.group, "g1");
  EXPECT_EQ(e.state, "running");
  EXPECT_EQ(e.messages, 44u);
  EXPECT_EQ(e.records, 47u);
  EXPECT_EQ(e.bytes, 45u);
  EXPECT_EQ(e.held, 46u);
  ASSERT_EQ(q.groups.size(), 2u);
  EXPECT_TRUE(q.groups[0].durable);
  EXPECT_FALSE(q.groups[0].lossy);
  EXPECT_TRUE(q.groups[1].lossy);
  const GroupStats& g = q.groups[1];
  EXPECT_EQ(g.name, "g2");
  const std::uint64_t terms[] = {g.members,   g.joined_at,   g.published, g.waiting, g.held,
                                 g.delivered, g.filtered,    g.dropped,   g.expired, g.dead_lettered,
                                 g.lost,      g.redelivered, g.records};
  EXPECT_THAT(terms, testing::ElementsAre(21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33));
}

TEST(StatsCodec, WhatIsCutAnywhereIsRefused) {
  const std::string whole = encode(some_stats());
  for (std::size_t n = 0; n < whole.size(); ++n) {
    EXPECT_THAT(error_of<LayoutError>([&] { (void)decode_stats(whole.substr(0, n)); }), HasSubstr("one release")) << n;
  }
}

TEST(StatsCodec, WhatIsLongerIsRefused) {
  EXPECT_THAT(error_of<LayoutError>([] { (void)decode_stats(encode(some_stats()) + '\0'); }),
              HasSubstr("longer than expected"));
}

TEST(StatsCodec, ALengthBeyondTheTextIsRefusedBeforeAnythingIsReserved) {
  std::string text = encode(BrokerStats{});
  for (const std::uint64_t length : {~std::uint64_t{0}, std::uint64_t{1} << 62, std::uint64_t{text.size() + 1}}) {
    std::memcpy(text.data(), &length, sizeof length);  // of the name
    EXPECT_THAT(error_of<LayoutError>([&] { (void)decode_stats(text); }), HasSubstr("damaged")) << length;
  }
  text = encode(BrokerStats{});
  const std::uint64_t many = ~std::uint64_t{0} / 2;
  std::memcpy(text.data() + text.size() - sizeof many, &many, sizeof many);  // of the list of queues
  EXPECT_THAT(error_of<LayoutError>([&] { (void)decode_stats(text); }), HasSubstr("damaged"));
}

TEST(StatsCodec, ATruthValueIsOneOfTwo) {
  BrokerStats s;
  s.queues.resize(1);
  const std::string no = encode(s);
  s.queues[0].parked = true;
  std::string text = encode(s);
  const auto at = static_cast<std::size_t>(std::mismatch(no.begin(), no.end(), text.begin()).first - no.begin());
  text[at] = 2;
  EXPECT_THAT(error_of<LayoutError>([&] { (void)decode_stats(text); }), HasSubstr("damaged"));
}

TEST(StatsCodec, AnyByteThatIsWrongIsRefusedOrReadAsAnotherValue) {
  const std::string whole = encode(some_stats());
  for (std::size_t n = 0; n < whole.size(); ++n) {
    for (const int byte : {0x00, 0x01, 0x02, 0x7f, 0xff}) {
      std::string text = whole;
      text[n] = static_cast<char>(byte);
      try {
        EXPECT_EQ(encode(decode_stats(text)), text);
      } catch (const LayoutError&) {  // fine
      }
    }
  }
}

}  // namespace
}  // namespace ipcq::detail
