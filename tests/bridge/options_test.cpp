#include "options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <ipcq/error.hpp>

#include "errors.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq::bridge;
using ipcq::UsageError;
using testing::HasSubstr;

Options with_queue() {
  Options options;
  options.queue = "work";
  return options;
}

TEST(RedisOptionsTest, AStreamHasAPriorityAndAWeight) {
  const Source source = parse_source("a,b:tasks,weight=3,priority=2", Kind::stream);
  EXPECT_EQ(source.name, "a,b:tasks");
  EXPECT_EQ(source.priority, 2);
  EXPECT_EQ(source.weight, 3);
  for (const char* text : {"", ",weight=1", "a,weight=0", "a,weight=x", "a,priority=-1"}) {
    EXPECT_THAT(error_of<UsageError>([&] { parse_source(text, Kind::stream); }), HasSubstr("--stream: ")) << text;
  }
}

TEST(RedisOptionsTest, ResultsHaveAKind) {
  EXPECT_EQ(parse_results("list:a:b").key, "a:b");
  EXPECT_EQ(parse_results("none").kind, "none");
  for (const char* text : {"results", "list:", "set:x"}) {
    EXPECT_THAT(error_of<UsageError>([&] { parse_results(text); }), HasSubstr("names no place")) << text;
  }
}

TEST(RedisOptionsTest, WithoutMoreTheStreamHasTheQueuesName) {
  const EngineSettings settings = engine_settings(with_queue());
  ASSERT_EQ(settings.sources.size(), 1U);
  EXPECT_EQ(settings.sources[0].name, "work");
  EXPECT_EQ(settings.results.kind, "stream");
  EXPECT_EQ(settings.results.key, "work:results");
  EXPECT_NE(settings.consumer, engine_settings(with_queue()).consumer);
}

TEST(RedisOptionsTest, WhatSaysNothingIsRefused) {
  Options burst = with_queue();
  burst.burst = "3";
  EXPECT_THAT(error_of<UsageError>([&] { engine_settings(burst); }), HasSubstr("--burst"));
  Options keep = with_queue();
  keep.keep = 3;
  EXPECT_THAT(error_of<UsageError>([&] { engine_settings(keep); }), HasSubstr("--keep"));
  Options twice = with_queue();
  twice.streams = {"a", "a,weight=2"};
  EXPECT_THAT(error_of<UsageError>([&] { engine_settings(twice); }), HasSubstr("'a' is given twice"));
  for (const std::string stream : {"a,prio=1", "a,take=due", "a,priority=1,from=left", "a,Weight=2", "a, wieght=2"}) {
    Options misspelt = with_queue();
    misspelt.streams = {stream};
    EXPECT_THAT(error_of<UsageError>([&] { engine_settings(misspelt); }), HasSubstr("no key '")) << stream;
  }
  EXPECT_THAT(error_of<UsageError>([] { parse_source("a,form=left", Kind::list); }),
              HasSubstr("--list a,form=left: no key 'form'; behind the name may stand ,priority=N ,weight=N ,from="));
  EXPECT_EQ(parse_source("a,b,weight=2", Kind::stream).name, "a,b");
  EXPECT_EQ(parse_source("a,env=prod,weight=2", Kind::stream).name, "a,env=prod");
  Options circle = with_queue();
  circle.streams = {"a"};
  circle.results = "stream:a";
  EXPECT_THAT(error_of<UsageError>([&] { engine_settings(circle); }), HasSubstr("tasks come from"));
}

TEST(RedisOptionsTest, APasswordComesFromTheEnvironmentOrAFileAndNotFromAnArgument) {
  Options options = with_queue();
  options.server.url = "redis://me:secret@host";
  EXPECT_THAT(error_of<UsageError>([&] { engine_settings(options); }),
              HasSubstr("--redis: every user of this machine"));
  ::setenv("IPCQ_REDIS_URL", "redis://me:secret@host", 1);
  EXPECT_EQ(engine_settings(options).address.password, "secret");
  ::unsetenv("IPCQ_REDIS_URL");
  options.server.url = "redis://host";
  ::setenv("IPCQ_REDIS_PASSWORD", "of the environment", 1);
  EXPECT_EQ(engine_settings(options).address.password, "of the environment");
  ::unsetenv("IPCQ_REDIS_PASSWORD");
  options.server.user = "me";
  EXPECT_THAT(error_of<UsageError>([&] { engine_settings(options); }), HasSubstr("user 'me': needs a password"));
  options.server.password_file = "/nonexistent";
  EXPECT_THAT(error_of<UsageError>([&] { engine_settings(options); }), HasSubstr("--password-file /nonexistent"));
}

}  // namespace
}  // namespace ipcq_test
