#include "control/options_codec.hpp"

#include <gmock/gmock.h>

#include <chrono>
#include <string>

#include "errors.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::error_of;
using testing::HasSubstr;

// Each field has another value than its default.
QueueOptions all_set() {
  QueueOptions o;
  o.slots = 3, o.size = 5'000'000'000, o.pool = "p", o.lines = 8, o.line = 256, o.batch = Batch::records;
  o.handler = "/a.cu:level=7", o.defines = {"A", "B=2"}, o.includes = {"/i"}, o.quick_start = false;
  o.handler_deadline = std::chrono::milliseconds(7), o.state_bytes = 9, o.state_file = "/s", o.isolate = true;
  o.backend = "cuda", o.device = 2, o.mirror = Mirror::none, o.host_readable = false;
  o.executor = ExecutorKind::stream, o.threads = 4, o.wait = Wait::hybrid(std::chrono::nanoseconds(77));
  o.backpressure = Backpressure::drop_oldest, o.paused = true, o.endpoints = 6, o.held = 11;
  o.calls = 12, o.on_server_death = OnServerDeath::redeliver;
  o.metadata = 13, o.schema = "u8", o.result_schema = "u16";
  o.groups = {{"a", GroupPolicy::lossy, true}, {"b"}};
  return o;
}

TEST(OptionsCodecTest, AQueuesOptionsComeBackAsTheyWere) {
  const QueueOptions o = decode_queue_options(encode(all_set()));
  EXPECT_EQ(encode(o), encode(all_set()));
  EXPECT_NE(encode(o), encode(QueueOptions{}));
  EXPECT_EQ(o.size, 5'000'000'000u);
  EXPECT_EQ(o.defines, all_set().defines);
  EXPECT_EQ(o.calls, 12u);
  EXPECT_EQ(o.on_server_death, OnServerDeath::redeliver);
  EXPECT_EQ(o.metadata, 13u);
  EXPECT_EQ(o.schema, "u8");
  EXPECT_EQ(o.result_schema, "u16");
  EXPECT_EQ(o.handler_deadline, std::chrono::milliseconds(7));
  EXPECT_EQ(o.wait.kind(), Wait::Kind::hybrid);
  EXPECT_EQ(o.wait.spin_for(), std::chrono::nanoseconds(77));
  ASSERT_EQ(o.groups.size(), 2u);
  EXPECT_EQ(o.groups[0].name, "a");
  EXPECT_EQ(o.groups[0].policy, GroupPolicy::lossy);
  EXPECT_TRUE(o.groups[0].paused);
  for (const Wait w : {Wait::spin(), Wait::sleep()}) {
    EXPECT_EQ(decode_queue_options(encode(QueueOptions{.wait = w})).wait.kind(), w.kind());
  }
}

TEST(OptionsCodecTest, APoolsOptionsComeBackAsTheyWere) {
  const PoolOptions o = decode_pool_options(encode(
      PoolOptions{.slots = 3, .size = 9, .backend = "cuda", .device = 1, .mirror = Mirror::none, .metadata = 5}));
  EXPECT_EQ(o.slots, 3u);
  EXPECT_EQ(o.size, 9u);
  EXPECT_EQ(o.backend, "cuda");
  EXPECT_EQ(o.device, 1);
  EXPECT_EQ(o.mirror, Mirror::none);
  EXPECT_EQ(o.metadata, 5u);
}

TEST(OptionsCodecTest, WhatNobodyCanHaveEncodedIsRefused) {
  const std::string whole = encode(all_set());
  for (std::size_t n = 0; n < whole.size(); ++n) {
    EXPECT_THROW((void)decode_queue_options(whole.substr(0, n)), LayoutError) << n;
  }
  EXPECT_THAT(error_of<LayoutError>([&] { (void)decode_queue_options(whole + "x"); }), HasSubstr("longer"));
  QueueOptions o;
  o.backpressure = static_cast<Backpressure>(3);
  EXPECT_THAT(error_of<LayoutError>([&] { (void)decode_queue_options(encode(o)); }), HasSubstr("damaged"));
  o = {};
  o.groups[0].policy = static_cast<GroupPolicy>(2);
  EXPECT_THROW((void)decode_queue_options(encode(o)), LayoutError);
  EXPECT_THROW((void)decode_pool_options(encode(PoolOptions{.mirror = static_cast<Mirror>(2)})), LayoutError);
}

// Whatever one byte becomes: options, or an error. A number that is none of its enum's is no option.
TEST(OptionsCodecTest, AnyByteMayBeAnother) {
  const std::string whole = encode(all_set());
  for (std::size_t n = 0; n < whole.size(); ++n) {
    for (const char other : {'\x00', '\x05', '\x7f', '\xff'}) {
      std::string text = whole;
      text[n] = other;
      try {
        const QueueOptions o = decode_queue_options(text);
        EXPECT_LE(o.backpressure, Backpressure::drop_oldest);
        EXPECT_LE(o.executor, ExecutorKind::stream);
      } catch (const LayoutError&) {
      }
    }
  }
}

}  // namespace
}  // namespace ipcq::detail
