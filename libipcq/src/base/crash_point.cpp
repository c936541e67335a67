#include "base/crash_point.hpp"

#if defined(IPCQ_TEST_HOOKS)

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>

namespace ipcq::detail {
namespace {

std::atomic<void (*)(const char*)> hook{nullptr};

// IPCQ_CRASH_POINT=name:action[:count]
struct Plan {
  Plan() {
    const char* text = std::getenv("IPCQ_CRASH_POINT");
    if (text == nullptr) return;
    const std::string plan = text;
    const auto first = plan.find(':');
    if (first == std::string::npos) return;
    const auto second = plan.find(':', first + 1);
    step = plan.substr(0, first);
    action = plan.substr(first + 1, second == std::string::npos ? second : second - first - 1);
    if (second != std::string::npos) left = std::atoi(plan.c_str() + second + 1);
  }
  std::string step;
  std::string action;
  std::atomic<int> left{1};
};

Plan& plan() {
  static Plan p;
  return p;
}

}  // namespace

void set_crash_point_hook(void (*function)(const char* name)) noexcept { hook.store(function); }

void reach_crash_point(const char* name) noexcept {
  if (const auto function = hook.load()) function(name);
  Plan& p = plan();
  if (p.step.empty() || p.step != name || p.left.fetch_sub(1) != 1) return;
  if (p.action == "kill") kill(getpid(), SIGKILL);
  if (p.action == "stop") kill(getpid(), SIGSTOP);
  if (p.action == "exit") _exit(42);
}

}  // namespace ipcq::detail

#endif
