#include "metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ipcq/error.hpp>

#include "errors.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq::bridge;
using testing::HasSubstr;

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

TEST(RedisMetricsTest, AnAddressWithoutAFreePortIsRefused) {
  Counters counters;
  const MetricsServer first("127.0.0.1:0", counters, {});
  const auto port = first.url().substr(17, first.url().rfind('/') - 17);
  EXPECT_THAT(error_of<ipcq::SystemError>([&] { MetricsServer("127.0.0.1:" + port, counters, {}); }),
              HasSubstr("cannot listen there"));
  EXPECT_THAT(error_of<ipcq::UsageError>([&] { MetricsServer("9090", counters, {}); }), HasSubstr("has no port"));
}

}  // namespace
}  // namespace ipcq_test
