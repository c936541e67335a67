// Takes descriptors from the process of a test. Skip such a test where ipcq_test::kChecksNeedDescriptors
// (sanitizer.hpp).
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/os.hpp"

namespace ipcq_test {

// The soft limit of open files, until this object ends.
class OpenFilesLimit {
 public:
  explicit OpenFilesLimit(rlim_t files) {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    rlimit now = before_;
    now.rlim_cur = files;
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &now), 0);
  }
  ~OpenFilesLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  OpenFilesLimit(const OpenFilesLimit&) = delete;
  OpenFilesLimit& operator=(const OpenFilesLimit&) = delete;

 private:
  rlimit before_{};
};

// Leaves the process no descriptor, until this object ends.
class DescriptorShortage {
 public:
  DescriptorShortage() { take_all(); }
  // Takes those that have come free since.
  void take_all() {
    for (;;) {
      ipcq::detail::Fd one(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      if (!one) break;
      taken_.push_back(std::move(one));
    }
    EXPECT_EQ(errno, EMFILE);
  }
  void free_one() { taken_.pop_back(); }

 private:
  static rlim_t above_all() {
    int highest = 2;
    for (const auto& one : std::filesystem::directory_iterator("/proc/self/fd")) {
      highest = std::max(highest, std::atoi(one.path().filename().c_str()));
    }
    return static_cast<rlim_t>(highest) + 1;
  }

  const OpenFilesLimit limit_{above_all()};
  std::vector<ipcq::detail::Fd> taken_;
};

}  // namespace ipcq_test
