#include "metrics_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <ipcq/error.hpp>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "errors.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq::bridge;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

int connect_to(const MetricsServer& server) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(server.url().substr(17))));
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

// `what`: method and path.
void send(int fd, const std::string& what, const std::string& connection) {
  const std::string request = what + " HTTP/1.1\r\nHost: x\r\nConnection: " + connection + "\r\n\r\n";
  EXPECT_EQ(::send(fd, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
}

// All that is answered.
std::string ask(int fd, const std::string& what) {
  send(fd, what, "close");
  std::string all;
  char part[4096];
  for (ssize_t n = ::recv(fd, part, sizeof part, 0); n > 0; n = ::recv(fd, part, sizeof part, 0)) all.append(part, n);
  return all;
}

TEST(RedisMetricsServerTest, ItServesTheCountersAndNothingElse) {
  Counters counters;
  counters.read = 7;
  const MetricsServer server("127.0.0.1:0", counters, {.queue = "q", .group = "g"});
  const auto get = [&](const std::string& what) {
    const int fd = connect_to(server);
    const std::string answer = ask(fd, what);
    ::close(fd);
    return answer;
  };
  EXPECT_THAT(get("GET /metrics"), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("text/plain; version=0.0.4"),
                                         HasSubstr("ipcq_redis_tasks_read_total{queue=\"q\",group=\"g\"} 7\n")));
  EXPECT_THAT(get("GET /metrics?name=x"), HasSubstr("tasks_read_total"));
  EXPECT_THAT(get("HEAD /metrics"), AllOf(StartsWith("HTTP/1.1 200"), Not(HasSubstr("tasks_read_total"))));
  counters.connected = counters.attached = true;
  EXPECT_THAT(get("GET /healthz"), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("redis: connected")));
  for (const std::string what : {"GET /", "GET /metrics/x", "GET /etc/passwd", "GET /../etc/passwd", "POST /metrics",
                                 "PUT /x", "DELETE /metrics"}) {
    EXPECT_THAT(get(what), AllOf(AnyOf(StartsWith("HTTP/1.1 404"), StartsWith("HTTP/1.1 501")),
                                 Not(HasSubstr("tasks_read")), Not(HasSubstr("root:"))))
        << what;
  }
}

// A scraper that keeps its connection does not keep others waiting.
TEST(RedisMetricsServerTest, EachRequestIsAnsweredAtOnceAndTheStopWaitsForNobody) {
  Counters counters;
  std::optional<MetricsServer> server(std::in_place, "127.0.0.1:0", counters, MetricsLabels{});
  const auto begin = std::chrono::steady_clock::now();
  std::vector<int> kept{connect_to(*server)};  // which asks nothing
  for (int i = 0; i < 3; ++i) {
    kept.push_back(connect_to(*server));
    send(kept.back(), "GET /healthz", "keep-alive");
    std::string answer(256, '\0');
    EXPECT_GT(::recv(kept.back(), answer.data(), answer.size(), 0), 0);
    EXPECT_THAT(answer, HasSubstr("503"));
  }
  server.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  for (const int fd : kept) ::close(fd);
}

// Those that ask nothing take no more than a few descriptors, and none for long.
TEST(RedisMetricsServerTest, ManyClientsThatSayNothingAreLeft) {
  Counters counters;
  const MetricsServer server("127.0.0.1:0", counters, {});
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  const auto before = descriptors();
  std::vector<int> silent;
  for (int i = 0; i < 100; ++i) silent.push_back(connect_to(server));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LE(descriptors() - before, 100 + 64 + 4);  // at both ends
  const int fd = connect_to(server);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(ask(fd, "GET /healthz"), HasSubstr("503"));  // when the first of them have been left
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
  for (const int each : silent) ::close(each);
  ::close(fd);
}

TEST(RedisMetricsServerTest, AnAddressWithoutAFreePortIsRefused) {
  Counters counters;
  const MetricsServer first("127.0.0.1:0", counters, {});
  const auto port = first.url().substr(17, first.url().rfind('/') - 17);
  EXPECT_THAT(error_of<ipcq::SystemError>([&] { MetricsServer("127.0.0.1:" + port, counters, {}); }),
              HasSubstr("cannot listen there"));
  EXPECT_THAT(error_of<ipcq::UsageError>([&] { MetricsServer("9090", counters, {}); }), HasSubstr("has no port"));
}

}  // namespace
}  // namespace ipcq_test
