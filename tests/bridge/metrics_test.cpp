#include "metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace ipcq_test {
namespace {

using namespace ipcq::bridge;
using testing::HasSubstr;
using testing::Not;

TEST(RedisMetricsTest, ATextHasEachCounterWithItsLabels) {
  Counters counters;
  counters.read = 3;
  counters.connected = true;
  const std::string text = metrics_text(counters, {.queue = "a\"b", .group = "g"});
  EXPECT_THAT(text, HasSubstr("# TYPE ipcq_redis_tasks_read_total counter\n"
                              "ipcq_redis_tasks_read_total{queue=\"a\\\"b\",group=\"g\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("ipcq_redis_connected{queue=\"a\\\"b\",group=\"g\"} 1\n"));
}

TEST(RedisMetricsTest, TheHistogramIsCumulative) {
  Counters counters;
  counters.record_latency(0.0004);
  counters.record_latency(0.003);
  counters.record_latency(99);
  const std::string text = metrics_text(counters, {.queue = "q", .group = "g"});
  EXPECT_THAT(text, HasSubstr("task_seconds_bucket{queue=\"q\",group=\"g\",le=\"0.0005\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("task_seconds_bucket{queue=\"q\",group=\"g\",le=\"0.005\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("task_seconds_bucket{queue=\"q\",group=\"g\",le=\"10\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("task_seconds_bucket{queue=\"q\",group=\"g\",le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("task_seconds_count{queue=\"q\",group=\"g\"} 3\n"));
}

TEST(RedisMetricsTest, SizesAreThoseOfEachSourceAndLeftOutWhereNobodyKnowsThem) {
  Counters counters;
  counters.sizes.set("a", {.waiting = 4, .taken = 3, .delayed = 0, .dead = 1});
  counters.sizes.set("b", {.waiting = -1, .taken = 2, .delayed = -1, .dead = -1});
  const auto text = [&] { return metrics_text(counters, {.queue = "q", .group = "g"}); };
  EXPECT_THAT(text(), HasSubstr("# TYPE ipcq_redis_source_waiting gauge\n"
                                "ipcq_redis_source_waiting{queue=\"q\",group=\"g\",source=\"a\"} 4\n#"));
  EXPECT_THAT(text(), HasSubstr("source_taken{queue=\"q\",group=\"g\",source=\"a\"} 3\n"));
  EXPECT_THAT(text(), HasSubstr("source_taken{queue=\"q\",group=\"g\",source=\"b\"} 2\n"));
  EXPECT_THAT(text(), HasSubstr("source_delayed{queue=\"q\",group=\"g\",source=\"a\"} 0\n#"));
  EXPECT_THAT(text(), HasSubstr("source_dead{queue=\"q\",group=\"g\",source=\"a\"} 1\n#"));
  counters.sizes.forget();
  EXPECT_THAT(text(), Not(HasSubstr("source=")));
}

}  // namespace
}  // namespace ipcq_test
