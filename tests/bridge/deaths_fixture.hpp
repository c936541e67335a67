// A server that keeps what it confirms, and many tasks of which each is to have one result.
#pragma once

#include <set>
#include <string>

#include "bridge/redis_test.hpp"

namespace ipcq_test {

class RedisDeathsTest : public RedisTest {
 protected:
  static constexpr const char* kDurable = "--save '' --appendonly yes --appendfsync always";

  std::set<std::string> add_many(int count) {
    std::set<std::string> ids;
    for (int i = 0; i < count; ++i) ids.insert(add("tasks", "x"));
    return ids;
  }
  // Each of these tasks has one result.
  void expect_results(const std::set<std::string>& ids) {
    std::set<std::string> found;
    for (const auto& [id, result] : results()) found.insert(id);
    EXPECT_EQ(found, ids);
    EXPECT_EQ(pending(), 0);
  }
};

}  // namespace ipcq_test
