// Runs a step that starts programs and keeps files in a temporary folder, such that neither outlives this process,
// however this process ends.
//
// The step runs in a process of its own, the guard. That is in a process group of its own, so a signal to this one's
// group does not reach it; it is told by the system (PR_SET_PDEATHSIG) when this process has ended. It then kills what
// it has started, and removes the folder.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace ipcq::compiler {

// What a guarded step may do.
class Guard {
 public:
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  // The temporary folder, of this user alone. It is also that of the programs that the step starts.
  const std::string& folder() const noexcept { return folder_; }

  // Runs a program to its end, reading from the file `input`, both its outputs going to the descriptor `output`.
  // Returns its exit code. Throws program::Failure where it does not start, or a signal ends it.
  int run(const std::string& program, std::vector<std::string> arguments, const std::string& input, int output) const;

 private:
  friend std::optional<std::string> run_guarded_step(const std::function<void(const Guard&)>&);
  Guard();
  ~Guard();

  std::string folder_;
};

// Runs `step` in a guard, and waits for its end. Whatever it makes it leaves in files whose descriptors both processes
// have. Returns nothing; or why it could not be done, which is never the fault of what is compiled: the text of the
// exception that `step` threw, or how the guard ended. Call it while this process has one thread. Throws
// program::Failure where no guard can be started.
std::optional<std::string> run_guarded_step(const std::function<void(const Guard&)>& step);

}  // namespace ipcq::compiler
