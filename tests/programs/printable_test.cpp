#include "program/printable.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include <spdlog/spdlog.h>

#include "program/stats_report.hpp"
#include "program/stderr_sink.hpp"

namespace ipcq::program {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Printable, ControlCharactersAreToldByTheirCode) {
  EXPECT_EQ(printable("plain, text \\ ~"), "plain, text \\ ~");
  EXPECT_EQ(printable("\033[31m\r\n\x7f"), "\\x1b[31m\\x0d\\x0a\\x7f");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(printable("a\nb\033\n", "\n"), "a\nb\\x1b\n");
}

TEST(Printable, OfUtf8OnlyControlCharactersAre) {
  EXPECT_EQ(printable("caf\u00e9 \u00a0\u4e00"), "caf\u00e9 \u00a0\u4e00");
  EXPECT_EQ(printable("\u009b31m\u0080"), "\\xc2\\x9b31m\\xc2\\x80");
  EXPECT_EQ(printable("\xc2"), "\xc2");
}

TEST(Printable, AMessageGoesOnBelowItsFirstLineWhereThatIsIndented) {
  EXPECT_EQ(printable_message("does not compile:\n  x.cu(1): error\n      f(\033);"),
            "does not compile:\n  x.cu(1): error\n      f(\\x1b);");
  EXPECT_EQ(printable_message("a\nb\n c\n"), "a\\x0ab\\x0a c\\x0a");
  EXPECT_EQ(printable_message("\n  "), "\n  ");
}

TEST(Printable, ALogLineIsOneLineWithoutThem) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  spdlog::logger log("ipcq", descriptor_sink(ends[1], true));
  log.set_pattern("%n: %^%l%$: %v");
  log.error("no queue '{}'", "\033[31mX\nipcq: error: forged");
  std::array<char, 200> text{};
  const auto size = ::read(ends[0], text.data(), text.size());
  EXPECT_EQ(std::string(text.data(), size),
            "ipcq: \033[31m\033[1merror\033[m: no queue '\\x1b[31mX\\x0aipcq: error: forged'\n");
  for (const int fd : ends) ::close(fd);
}

TEST(Printable, StatisticsOfABrokerAreShownWithoutThem) {
  const std::string evil = "\033c\nqueue evil";
  BrokerStats stats;
  stats.name = stats.version = evil;
  QueueStats queue;
  queue.name = queue.pool = queue.handler = queue.backend = queue.executor = queue.backpressure = queue.state = evil;
  queue.batch = evil;
  queue.blocked_by_group = evil;
  queue.producers_lost = 1;
  GroupStats group;
  group.name = evil;
  queue.groups.push_back(group);
  EndpointStats endpoint;
  endpoint.role = endpoint.group = endpoint.state = evil;
  queue.endpoints.push_back(endpoint);
  stats.queues.push_back(queue);
  EXPECT_THAT(to_text(stats),
              AllOf(HasSubstr("\\x1bc\\x0aqueue evil"), Not(HasSubstr("\033")), Not(HasSubstr("\nqueue evil"))));
}

}  // namespace
}  // namespace ipcq::program
