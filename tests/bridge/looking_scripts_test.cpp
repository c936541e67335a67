// The scripts that only look: sizes, and what a user may do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <string>
#include <vector>

#include "bridge/scripts_fixture.hpp"

namespace ipcq_test {
namespace {

TEST_F(ScriptsTest, SizesTellWhatWaitsWhoeverHasWhat) {
  using Sizes = std::vector<long>;
  const auto sizes = [&](const std::string& kind, const std::string& name) {
    const auto reply = run_script("sizes", {name, name + ":delayed", name + ":dead"}, {kind, "g"});
    EXPECT_EQ(reply.view().size(), 4u) << reply.view().text();
    return Sizes{reply.view()[0].number(-9), reply.view()[1].number(-9), reply.view()[2].number(-9),
                 reply.view()[3].number(-9)};
  };
  EXPECT_EQ(sizes("stream", "s"), (Sizes{0, 0, 0, 0}));
  const auto ids = read_by("me", 3);
  for (int i = 0; i < 4; ++i) add("s", "x");
  ask({"XREADGROUP", "GROUP", "g", "other", "COUNT", "1", "STREAMS", "s", ">"});
  ask({"ZADD", "s:delayed", "5", "task"});
  add("s:dead", "y");
  add("s:dead", "y");
  const long waiting = is_before_redis_7() ? -1 : 3;
  EXPECT_EQ(sizes("stream", "s"), (Sizes{waiting, 4, 1, 2}));
  ask({"XACK", "s", "g", ids[0]});
  EXPECT_EQ(sizes("stream", "s"), (Sizes{waiting, 3, 1, 2}));
  ask({"XDEL", "s", add("s", "deleted")});  // what waits is no longer known
  add("s", "x");
  EXPECT_EQ(sizes("stream", "s")[1], 3);
  ask({"SET", "text", "x"});
  EXPECT_EQ(sizes("stream", "text"), (Sizes{-1, -1, 0, 0}));

  for (const std::string task : {"a", "b", "c"}) ask({"RPUSH", "l", task});
  EXPECT_EQ(sizes("list", "l"), (Sizes{3, 0, 0, 0}));
  run_script("take", {"l"}, {"list", "me", "2", "left"});
  run_script("take", {"l"}, {"list", "other", "1", "left"});
  EXPECT_EQ(sizes("list", "l"), (Sizes{0, 3, 0, 0}));
  ask({"ZADD", "z", "1", "a", "2", "b"});
  run_script("take", {"z"}, {"sorted-set", "me", "1", "least"});
  EXPECT_EQ(sizes("sorted-set", "z"), (Sizes{1, 1, 0, 0}));
}

// Whoever calls a command in a script adds it to the probe, so that a user without the right for it is told.
TEST_F(ScriptsTest, TheProbeOfPermissionsKnowsTheCommandsOfTheScripts) {
  const std::string probe(ipcq::bridge::script_text("permissions"));
  const std::set<std::string> left_out{
      "APPEND", "PUBLISH", "SET",  // of results in keys and in channels; most cannot be tried without doing them
      "XGROUP"};                   // forgets consumers, which may stay
  const std::regex call("redis\\.p?call\\('([A-Z]+)'");
  for (const std::string name : {"adopt_entries", "adopt_taken", "alive", "claim_entries", "finish_entries",
                                 "finish_taken", "forget_consumers", "leave", "move_to_list", "move_to_stream",
                                 "recover", "renew_entries", "rest", "sizes", "take", "tokens", "trim_stream"}) {
    const std::string text(ipcq::bridge::script_text(name));
    for (std::sregex_iterator at(text.begin(), text.end(), call), end; at != end; ++at) {
      const std::string command = (*at)[1];
      if (left_out.contains(command)) continue;
      EXPECT_THAT(probe, testing::HasSubstr("'" + command + "'")) << name;
    }
  }
  const auto nothing = run_script("permissions", {"probe", "probe"},
                                  {"stream", "list", "left", "sorted-set", "rest", "trim", "rate", "sizes",
                                   "results-stream", "results-list", "results-key"});
  EXPECT_EQ(nothing.view().size(), 0U);
  EXPECT_EQ(number({"EXISTS", "probe"}), 0);
}

}  // namespace
}  // namespace ipcq_test
