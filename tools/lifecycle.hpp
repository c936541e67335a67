// ipcq create, delete, pause, resume and drain: what administrators do to the queues and pools of a running broker.
//
// For the main thread. A LifeCycle must outlive the parsing of its command line.
#pragma once

#include <string>

#include "program/command_line.hpp"

namespace ipcq::program {

class LifeCycle {
 public:
  explicit LifeCycle(CommandLine& line);
  // After the parsing: carries the command out if it is one of these. False: it is another.
  bool run(int& code) const;

 private:
  CommandLine add(CommandLine& line, const char* name, const char* help);
  int drain() const;
  std::string paused() const;
  int remove() const;

  std::string broker_, spec_, name_, group_;
  double timeout_ = -1;
  bool is_pool_ = false, force_ = false;
  CommandLine create_, delete_, pause_, resume_, drain_;
};

}  // namespace ipcq::program
