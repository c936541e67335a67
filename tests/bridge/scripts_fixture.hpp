// A server with a stream, on which scripts run one at a time, on states that are built by hand.
#pragma once

#include <string>
#include <vector>

#include "bridge/redis_test.hpp"
#include "redis/scripts.hpp"

namespace ipcq_test {

class ScriptsTest : public RedisTest {
 protected:
  ScriptsTest() { redis(); }

  // A stream with a group, of whose entries `consumer` has read `count`.
  std::vector<std::string> read_by(const std::string& consumer, int count) {
    std::vector<std::string> ids;
    ask({"XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"});
    for (int i = 0; i < count; ++i) ids.push_back(add("s", "payload " + std::to_string(i)));
    ask({"XREADGROUP", "GROUP", "g", consumer, "COUNT", std::to_string(count), "STREAMS", "s", ">"});
    return ids;
  }
  ipcq::bridge::Reply run_script(const std::string& name, const std::vector<std::string>& keys,
                                 const std::vector<std::string>& arguments) {
    std::vector<std::string> words{"EVAL", std::string(ipcq::bridge::script_text(name)), std::to_string(keys.size())};
    words.insert(words.end(), keys.begin(), keys.end());
    words.insert(words.end(), arguments.begin(), arguments.end());
    return ask(words);
  }
  // Runs `finish_entries` with these records, and returns its answers as texts.
  std::vector<std::string> finish(const std::vector<std::string>& records, const std::string& kind = "stream",
                                  std::vector<std::string> keys = {"s", "r", "later", "dead"}) {
    std::vector<std::string> arguments{"g", "me", kind, "60000", "100"};
    arguments.insert(arguments.end(), records.begin(), records.end());
    const auto reply = run_script("finish_entries", keys, arguments);
    EXPECT_FALSE(reply.view().is_error()) << reply.view().text();
    std::vector<std::string> out;
    for (std::size_t i = 0; i < reply.view().size(); ++i) {
      const auto answer = reply.view()[i];
      out.push_back(answer.is_integer() ? std::to_string(answer.number()) : std::string(answer.text()));
    }
    return out;
  }
  long pending_of(const std::string& consumer) {
    return ask({"XPENDING", "s", "g", "-", "+", "100", consumer}).view().size();
  }
};

}  // namespace ipcq_test
