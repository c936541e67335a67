// What is refused before a runner is asked: own_handlers/ has the rest.
#include "broker/live_changes.hpp"

#include <gmock/gmock.h>

#include "base/memory_file.hpp"
#include "broker/parts.hpp"
#include "errors.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::error_of;
using testing::HasSubstr;

class LiveChangesTest : public testing::Test {
 protected:
  Parts parts_;
  QueueEntry& q_ = parts_.create("q", Parts::small());
};

TEST_F(LiveChangesTest, AQueueWithoutAHandlerOfItsUsersHasNothingToChange) {
  EXPECT_THAT(error_of<UsageError>([&] { (void)parts_.changes.save("q"); }), HasSubstr("has no state"));
  EXPECT_THAT(error_of<UsageError>([&] { parts_.changes.load("q", make_memory_file(1, "it")); }),
              HasSubstr("has no state"));
  EXPECT_THAT(error_of<UsageError>([&] { parts_.changes.replace_handler("q", "x.cu"); }),
              HasSubstr("queue 'q': it has no handler"));
  q_.options.handler = "upper";
  EXPECT_THAT(error_of<UsageError>([&] { parts_.changes.replace_handler("q", "x.cu"); }),
              HasSubstr("queue 'q': its handler is built in"));
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)parts_.changes.save("r"); }), HasSubstr("queue 'r'"));
}

TEST_F(LiveChangesTest, ABrokerThatStopsChangesNothing) {
  {
    const Lock lock(parts_.context.mutex);
    parts_.context.stopped = true;
  }
  EXPECT_THAT(error_of<UsageError>([&] { (void)parts_.changes.save("q"); }), HasSubstr("queue 'q'"));
  const Lock lock(parts_.context.mutex);
  parts_.context.stopped = false;
}

TEST_F(LiveChangesTest, TheFileForAStateHasItsSize) {
  EXPECT_THROW((void)LiveChanges::file_for_state(q_), UsageError);
  q_.state = first_state("queue 'q'", {.state_bytes = 77});
  const Fd file = LiveChanges::file_for_state(q_);
  EXPECT_EQ(size_of(file.get(), "it"), 77u);
  EXPECT_TRUE(is_all_zero(file.get()));
}

}  // namespace
}  // namespace ipcq::detail
