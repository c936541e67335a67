// Space in /dev/shm. Interrupted reservations are in process/reservation_test.cpp.
#include "queue/reservation.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/os.hpp"
#include "errors.hpp"
#include "ipcq/error.hpp"
#include "unit/child.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;
using ipcq_test::error_of;
using testing::AllOf;
using testing::HasSubstr;

class Reservation : public testing::Test {
 protected:
  Reservation() {
    const std::string name = "ipcq-reservation-test-" + std::to_string(::getpid());
    fd_ = Fd(::shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
    EXPECT_TRUE(fd_);
    ::shm_unlink(name.c_str());
  }
  struct stat status() const {
    struct stat s {};
    EXPECT_EQ(::fstat(fd_.get(), &s), 0);
    return s;
  }
  Fd fd_;
};

TEST_F(Reservation, GrowsTheFileToItsSizeWithEveryPageTaken) {
  const std::uint64_t bytes = (33u << 20) + 4096;  // more than two pieces, and a part of one
  reserve(fd_.get(), bytes, "object");
  EXPECT_EQ(static_cast<std::uint64_t>(status().st_size), bytes);
  EXPECT_GE(static_cast<std::uint64_t>(status().st_blocks) * 512, bytes);
}

TEST_F(Reservation, OfNothingIsNothing) {
  reserve(fd_.get(), 0, "object");
  EXPECT_EQ(status().st_size, 0);
}

TEST_F(Reservation, ThatPlainlyCannotBeTakesNoPage) {
  struct statvfs fs {};
  ASSERT_EQ(::statvfs(kShmDirectory, &fs), 0);
  if (fs.f_blocks == 0) GTEST_SKIP() << "/dev/shm has no limit";
  const std::uint64_t more = std::uint64_t{fs.f_bavail} * fs.f_frsize + (std::uint64_t{1} << 40);
  EXPECT_THAT(error_of<SystemError>([&] { reserve(fd_.get(), more, "object"); }),
              AllOf(HasSubstr("object: posix_fallocate failed"), HasSubstr("are needed"), HasSubstr("are free in"),
                    HasSubstr("--shm-size")));
  EXPECT_EQ(status().st_blocks, 0);
}

TEST_F(Reservation, BeyondTheLimitOfAFileIsAnErrorAndNoSignal) {
  Child child([&] {
    const rlimit limit{1u << 20, 1u << 20};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(1);
    try {
      reserve(fd_.get(), (1u << 20) + 1, "object");
    } catch (const SystemError& e) {
      ::_exit(e.code() == EFBIG ? 0 : 2);
    }
  });
  EXPECT_EQ(child.exit_code(), 0);
}

TEST_F(Reservation, OfWhatIsNoFileSaysWhy) {
  EXPECT_THAT(error_of<SystemError>([&] { reserve(-1, 4096, "object"); }), HasSubstr("posix_fallocate failed"));
}

TEST_F(Reservation, InodesAreToldWhereTheyAreLimited) {
  struct statvfs fs {};
  ASSERT_EQ(::statvfs(kShmDirectory, &fs), 0);
  if (fs.f_files == 0) {
    EXPECT_EQ(shm_inodes_text(), "");
  } else {
    EXPECT_THAT(shm_inodes_text(), HasSubstr(" of " + std::to_string(fs.f_files) + " inodes are free in /dev/shm"));
  }
}

}  // namespace
}  // namespace ipcq::detail
