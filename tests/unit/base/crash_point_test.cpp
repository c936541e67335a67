// Named steps, as the tests of deaths use them. The plan is read at the first step that a process reaches, so each test
// reaches its own in a child.
#include "base/crash_point.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "unit/child.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;

std::vector<std::string> reached;

TEST(Step, IsToldToTheHook) {
  Child child([] {
    set_crash_point_hook([](const char* name) { reached.emplace_back(name); });
    IPCQ_CRASH_POINT("a.b");
    reach_crash_point("c.d");
    set_crash_point_hook(nullptr);
    IPCQ_CRASH_POINT("e.f");
    ::_exit(reached == std::vector<std::string>{"a.b", "c.d"} ? 0 : 1);
  });
  EXPECT_EQ(child.exit_code(), 0);
}

// What becomes of a process that reaches "here" twice and then exits with 7.
int status_after(const std::string& plan) {
  Child child([&] {
    ::setenv("IPCQ_CRASH_POINT", plan.c_str(), 1);
    for (const char* const step : {"other", "here", "here"}) reach_crash_point(step);
    ::_exit(7);
  });
  return child.reap();
}

TEST(Step, EndsTheProcessWhereThePlanSays) {
  EXPECT_EQ(WEXITSTATUS(status_after("here:exit")), 42);
  EXPECT_EQ(WEXITSTATUS(status_after("here:exit:2")), 42);
  EXPECT_EQ(WEXITSTATUS(status_after("here:exit:3")), 7);
  EXPECT_EQ(WEXITSTATUS(status_after("nowhere:exit")), 7);
  EXPECT_EQ(WEXITSTATUS(status_after("here")), 7);
  EXPECT_EQ(WTERMSIG(status_after("here:kill")), SIGKILL);
}

}  // namespace
}  // namespace ipcq::detail
