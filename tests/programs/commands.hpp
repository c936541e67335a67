// Runs the programs as a shell does: each command is a bash in a process group of its own, with its output in files.
// Every wait is bounded; commands that still run at the end of a test are killed.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>

#include <list>
#include <optional>
#include <string>

#include "eventually.hpp"

namespace ipcq_test {

using namespace std::chrono_literals;

inline constexpr const char* kQueue = "--queue q=4KiB,slots=64,backend=host";  // a broker's, for tests of any queue

class Command {
 public:
  // `script` is run by bash in `directory`, with the programs in its PATH and $IPCQ_BROKER set. "exec PROGRAM" gives
  // the program the pid. `name`: of the files of its output.
  Command(const std::string& script, const std::string& directory, const std::string& broker, const std::string& name);
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  ~Command();

  // Waits for its end and returns the exit code; 128 + n if signal n ended it. None, and a failure, after `bound`.
  std::optional<int> exit_code(ipcq::Duration bound = kBound);
  bool ended();  // does not wait
  void signal(int number) const;
  pid_t pid() const { return pid_; }
  std::string out() const;  // what it has written to standard output so far
  std::string err() const;

 private:
  std::string script_;
  std::string out_, err_;  // files
  pid_t pid_ = -1;
  std::optional<int> status_;
};

// A fixture with a directory of its own, for files and as the run directory of brokers.
class ProgramTest : public testing::Test {
 protected:
  ProgramTest();
  ~ProgramTest() override;

  Command& start(const std::string& script);
  // Starts a command and waits for its end.
  Command& run(const std::string& script);
  // Starts a broker named broker_name() with these arguments; returns once it serves.
  Command& broker(const std::string& arguments);

  // $IPCQ_BROKER: a name that no other test has, since all share /dev/shm.
  const std::string& broker_name() const { return broker_; }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  std::string contents(const std::string& name) const;
  void write(const std::string& name, const std::string& text) const;
  // A number from `ipcq stats --json`, by a path such as "clients" or "queues/0/groups/0/waiting". -1 if there is none.
  long stat(const std::string& pointer);

 private:
  std::string directory_;
  std::string broker_;
  std::list<Command> commands_;
  unsigned started_ = 0;
};

}  // namespace ipcq_test
