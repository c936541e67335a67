// Finds in /proc the runners that a process has started.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace ipcq_test {

struct ProcessState {
  std::string program;
  char state = 'X';  // as in /proc/PID/stat; X: no such process
  pid_t parent = 0;
  bool lives() const { return state != 'X' && state != 'Z'; }
};

inline ProcessState process_state(pid_t pid) {
  ProcessState s;
  std::string line;
  std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/stat"), line);
  const auto open = line.find('('), close = line.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return s;
  s.program = line.substr(open + 1, close - open - 1);
  std::sscanf(line.c_str() + close + 1, " %c %d", &s.state, &s.parent);
  return s;
}

// `program`: as the kernel calls it, 15 characters at most.
inline std::vector<pid_t> runners(pid_t parent = getpid(), const std::string& program = "ipcq-runner") {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::stol(name));
    const ProcessState s = process_state(pid);
    if (s.program == program && s.parent == parent && s.lives()) found.push_back(pid);
  }
  return found;
}

}  // namespace ipcq_test
