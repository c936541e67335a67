// A folder for what a case writes to files. Its end removes it with all that is in it: the object's, and that of the
// process that made it by fail(), which runs no destructors. A process that is killed leaves it. One thread.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

namespace ipcq::bench {

class TemporaryFolder {
 public:
  // Named `prefix` and six letters, where $TMPDIR says. Throws std::system_error.
  explicit TemporaryFolder(const std::string& prefix);
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  friend void remove_temporary_folders() noexcept;
  void remove() const noexcept;

  std::filesystem::path path_;
  pid_t maker_;  // a fork has the object, too
  TemporaryFolder* next_;
};

// Those of this process that are left.
void remove_temporary_folders() noexcept;

}  // namespace ipcq::bench
