#include "config_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <ipcq/error.hpp>

#include "errors.hpp"

namespace ipcq_test {
namespace {

using ipcq::UsageError;
using ipcq::bridge::find_config;
using ipcq::bridge::variable_of;
using ipcq::bridge::with_config;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

TEST(RedisConfigFileTest, ItsKeysAreOptions) {
  EXPECT_THAT(with_config({},
                          "queue = \"work\"\nclaim_after = 2.5\nattempts = 3\ntrim = true\njson = false\n"
                          "stream = [\"a,priority=1\", \"b\"]\n",
                          "f"),
              UnorderedElementsAre("--queue=work", "--claim-after=2.5", "--attempts=3", "--trim",
                                   "--stream=a,priority=1", "--stream=b"));
}

TEST(RedisConfigFileTest, TheCommandLineAndTheEnvironmentWin) {
  ::setenv("IPCQ_REDIS_URL", "redis://b", 1);
  EXPECT_THAT(with_config({"--queue", "mine", "--rate=5"}, "queue = \"work\"\nrate = 1\nredis = \"redis://a\"\n", "f"),
              ElementsAre("--queue", "mine", "--rate=5"));
  ::unsetenv("IPCQ_REDIS_URL");
}

TEST(RedisConfigFileTest, AnEmptyFileSaysNothing) {
  EXPECT_THAT(ipcq::bridge::with_config_file({"--queue", "q"}, "/dev/null"), ElementsAre("--queue", "q"));
  EXPECT_THAT(error_of<UsageError>([] { ipcq::bridge::with_config_file({}, "/nonexistent.toml"); }),
              HasSubstr("/nonexistent.toml: cannot be read"));
}

TEST(RedisConfigFileTest, AMistakeIsNamedWithItsLine) {
  EXPECT_THAT(error_of<UsageError>([] { with_config({}, "queue = \"work\"\nrate = \n", "f.toml"); }),
              HasSubstr("f.toml:2: "));
  EXPECT_THAT(error_of<UsageError>([] { with_config({}, "[queue]\nname = \"work\"\n", "f.toml"); }),
              HasSubstr("f.toml:1: 'queue' must be a text"));
}

TEST(RedisConfigFileTest, TheFileIsTheOneThatIsNamed) {
  EXPECT_EQ(find_config({"--config", "a"}), "a");
  EXPECT_EQ(find_config({"--config=b"}), "b");
  ::setenv("IPCQ_REDIS_CONFIG", "c", 1);
  EXPECT_EQ(find_config({}), "c");
  ::unsetenv("IPCQ_REDIS_CONFIG");
  EXPECT_EQ(variable_of("claim-after"), "IPCQ_REDIS_CLAIM_AFTER");
}

}  // namespace
}  // namespace ipcq_test
