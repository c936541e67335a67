#include "metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <ipcq/error.hpp>
#include <string>
#include <vector>

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

// A scraper that keeps its connection does not keep others waiting.
TEST(RedisMetricsTest, EachRequestIsAnsweredAtOnce) {
  Counters counters;
  const MetricsServer server("127.0.0.1:0", counters, {});
  const auto begin = std::chrono::steady_clock::now();
  std::vector<int> kept;
  for (int i = 0; i < 3; ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    kept.push_back(fd);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(server.url().substr(17))));
    ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const std::string request = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n";
    ASSERT_EQ(::send(fd, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
    std::string answer(256, '\0');
    EXPECT_GT(::recv(fd, answer.data(), answer.size(), 0), 0);
    EXPECT_THAT(answer, HasSubstr("503"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  for (const int fd : kept) ::close(fd);
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
