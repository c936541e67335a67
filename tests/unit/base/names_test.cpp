// What may be a name: the same wherever a program can say one.
#include <gmock/gmock.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "errors.hpp"
#include "ipcq/admin.hpp"
#include "ipcq/broker.hpp"
#include "ipcq/error.hpp"
#include "ipcq/session.hpp"
#include "ipcq/wait.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;
using namespace std::string_literals;
using namespace std::string_view_literals;
using testing::AllOf;
using testing::HasSubstr;

class Names : public testing::Test {
 protected:
  const std::string name_ = "names-" + std::to_string(getpid());
  Broker broker_{{.name = name_}};
};

// A C string would end there, and the name would be another.
TEST_F(Names, AZeroByteIsRefusedWhereverANameIsSaid) {
  broker_.create("cam", {.slots = 1});
  broker_.create("shared", {.slots = 1});
  Session session = connect({.broker = name_});
  const std::string cam = "cam\0x"s;
  const std::vector<std::pair<std::string, std::function<void()>>> calls = {
      {"create", [&] { broker_.create("cam\0left"s, {.slots = 1}); }},
      {"create_pool", [&] { broker_.create_pool("pool\0left"s, {}); }},
      {"pool of a queue", [&] { broker_.create("q", {.pool = "shared\0x"s}); }},
      {"handler of a queue", [&] { broker_.create("q", {.handler = "invert\0x"s}); }},
      {"group of a queue", [&] { broker_.create("q", {.slots = 1, .groups = {{.name = "g\0x"s}}}); }},
      {"producer", [&] { (void)session.producer(cam); }},
      {"consumer", [&] { (void)session.consumer(cam); }},
      {"group of a consumer", [&] { (void)session.consumer("cam", {.group = "default\0x"s}); }},
      {"fetch_dump", [&] { (void)fetch_dump(cam, name_); }},
      {"end_of_stream", [&] { end_of_stream(cam, name_); }},
      {"dump", [&] { (void)broker_.dump(cam); }},
      {"end of a stream of its own", [&] { broker_.end_of_stream(cam); }},
      {"set_executor", [&] { set_executor(cam, ExecutorKind::stream, name_); }},
      {"connect", [&] { (void)connect({.broker = name_ + "\0x"s}); }},
      {"connect to a path", [&] { (void)connect({.broker = broker_.socket_path() + "\0x"s}); }},
      {"fetch_stats", [&] { (void)fetch_stats(broker_.socket_path() + "\0x"s); }},
      {"broker", [&] { const Broker other({.name = name_ + "\0x"s}); }},
      {"broker at a path", [&] { const Broker other({.name = broker_.socket_path() + "2\0x"s}); }},
      {"unix group", [&] { const Broker other({.name = name_ + "-2", .group = "root\0x"s}); }},
  };
  for (const auto& [what, call] : calls) {
    EXPECT_THAT(error_of<UsageError>(call), AllOf(HasSubstr("\\x00"), HasSubstr("': "))) << what;
  }
  EXPECT_EQ(broker_.stats().queues.size(), 2u);
}

// what() would end there, before the remedy.
TEST_F(Names, AnErrorSaysAZeroByteThatItsTextHolds) {
  EXPECT_STREQ(UsageError("a\0b\0"s).what(), "a\\x00b\\x00");
  EXPECT_STREQ(SystemError(1, "a\0; do b"s).what(), "a\\x00; do b");
  EXPECT_THAT(error_of<UsageError>([] { (void)parse_wait("spin\0x"sv); }),
              AllOf(HasSubstr("'spin\\x00x'"), HasSubstr("use spin, hybrid or sleep")));
  EXPECT_THAT(error_of<UsageError>([&] { broker_.create("q", {.backend = "host\0x"s}); }), HasSubstr("use auto, host"));
}

// The field of a request would cut it off, and the rest may be another queue's name.
TEST_F(Names, ALongNameIsNotTakenForItsBeginning) {
  const std::string longest(63, 'q');
  broker_.create(longest, {.slots = 1});
  EXPECT_THAT(error_of<UsageError>([&] { (void)fetch_dump(longest + "q", name_); }), HasSubstr("1 to 63"));
  EXPECT_THAT(error_of<UsageError>([&] { end_of_stream(longest + "q", name_); }), HasSubstr("1 to 63"));
  EXPECT_THAT(error_of<UsageError>([&] { set_executor(longest + "q", ExecutorKind::stream, name_); }),
              HasSubstr("1 to 63"));
  EXPECT_THAT(fetch_dump(longest, name_), HasSubstr(longest));
}

}  // namespace
}  // namespace ipcq_test
