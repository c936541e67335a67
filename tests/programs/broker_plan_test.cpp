// What a broker says that it is about to create.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan.hpp"
#include "programs/usage_error.hpp"

namespace ipcq::program {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(BrokerPlan, NamesTheQueueOrPoolThatCannotBe) {
  const auto large = parse_broker_config("[[queue]]\nname = \"ok\"\n[[queue]]\nname = \"cam\"\nsize = \"5GiB\"\n", "t");
  EXPECT_THAT(usage_error_of([&] { describe_plan(large); }),
              AllOf(StartsWith("queue 'cam': size is "), HasSubstr("allowed")));
  const auto pool = parse_broker_config("[[pool]]\nname = \"frames\"\nsize = \"5GiB\"\nslots = 2\n", "t");
  EXPECT_THAT(usage_error_of([&] { describe_plan(pool); }), StartsWith("pool 'frames': size is "));
}

TEST(BrokerPlan, SaysWhichQueuesHaveARunnerOfTheirOwn) {
  const auto two = parse_broker_config(
      "[[queue]]\nname = \"a\"\nhandler = \"/x/mine.cu\"\nisolate = true\n"
      "[[queue]]\nname = \"b\"\nhandler = \"/x/mine.cu\"\n",
      "t");
  EXPECT_THAT(describe_plan(two), testing::ElementsAre(HasSubstr("handler /x/mine.cu in a runner of its own, backend"),
                                                       HasSubstr("handler /x/mine.cu, backend"), StartsWith("in all")));
}

}  // namespace
}  // namespace ipcq::program
