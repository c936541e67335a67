#include "common/temporary_folder.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace ipcq::bench {

namespace {

TemporaryFolder* newest = nullptr;

}  // namespace

TemporaryFolder::TemporaryFolder(const std::string& prefix) : maker_(::getpid()), next_(newest) {
  std::string pattern = (std::filesystem::temp_directory_path() / (prefix + "XXXXXX")).string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    throw std::system_error(errno, std::generic_category(), "cannot make the folder " + pattern);
  }
  path_ = pattern;
  newest = this;
}

TemporaryFolder::~TemporaryFolder() {
  TemporaryFolder** at = &newest;
  while (*at != this) at = &(*at)->next_;
  *at = next_;
  remove();
}

void TemporaryFolder::remove() const noexcept {
  std::error_code ignored;
  if (maker_ == ::getpid()) std::filesystem::remove_all(path_, ignored);
}

void remove_temporary_folders() noexcept {
  for (const TemporaryFolder* folder = newest; folder != nullptr; folder = folder->next_) folder->remove();
}

}  // namespace ipcq::bench
