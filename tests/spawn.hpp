// Starts programs as processes of their own.
#pragma once

#include <gtest/gtest.h>
#include <spawn.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace ipcq_test {

// Starts words[0] with this process' environment. -1, and a failure, when it does not start.
inline pid_t spawn_program(std::vector<std::string> words) {
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  pid_t pid = -1;
  EXPECT_EQ(::posix_spawn(&pid, argv[0], nullptr, nullptr, argv.data(), environ), 0) << words[0];
  return pid;
}

}  // namespace ipcq_test
