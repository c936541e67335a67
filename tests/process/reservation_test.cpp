// Reservations of space in /dev/shm that take long: interrupted ones, and what is said of large ones.
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "process/bad_input.hpp"
#include "queue/segment.hpp"

namespace {

// The system's posix_fallocate as a kernel before 6.11 has it below a profiling timer: what takes longer than until the
// next signal is undone. 0: as it is.
std::atomic<off_t> longest_piece{0};
std::atomic<unsigned> interrupted{0};

}  // namespace

extern "C" int posix_fallocate(int fd, off_t offset, off_t length) {
  const off_t longest = longest_piece.load();
  if (longest != 0 && length > longest) {
    if (interrupted.fetch_add(1) > 1000) return ECANCELED;  // the caller would go on for ever
    return EINTR;
  }
  return ::syscall(SYS_fallocate, fd, 0, offset, length) == 0 ? 0 : errno;
}

namespace ipcq_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class LongReservation : public BadInput {};

// As below a profiling timer on a kernel before 6.11.
TEST_F(LongReservation, InterruptedReservationsComeToTheirEnd) {
  longest_piece = 1u << 20;
  interrupted = 0;
  {
    const auto segment = detail::Segment::create("ipcq-test-" + name_, 20u << 20, {});
    struct stat st {};
    ASSERT_EQ(::stat(("/dev/shm/" + segment.name()).c_str(), &st), 0);
    EXPECT_EQ(st.st_size, 20 << 20);
    EXPECT_GE(st.st_blocks * 512, 20 << 20);  // all of it is there
    EXPECT_GT(interrupted.load(), 0u);
    longest_piece = 4096;  // whatever can be reserved at all
    const auto slow = detail::Segment::create("ipcq-test-slow-" + name_, 1u << 20, {});
    EXPECT_EQ(slow.size(), 1u << 20);
  }
  longest_piece = 0;
}

TEST_F(LongReservation, ALargeReservationIsSaidWhenItBegins) {
  std::vector<std::string> said;
  const detail::Segment::Access access{.log = [&](LogLevel level, std::string_view text) {
    if (level == LogLevel::info) said.emplace_back(text);
  }};
  (void)detail::Segment::create("ipcq-test-" + name_, 1u << 20, access);
  EXPECT_TRUE(said.empty());
  try {
    (void)detail::Segment::create("ipcq-test-" + name_, 256u << 20, access);
  } catch (const SystemError& e) {
    EXPECT_EQ(e.code(), ENOSPC);  // a small /dev/shm: it was to be reserved
  }
  ASSERT_EQ(said.size(), 1u);
  EXPECT_THAT(said[0], AllOf(HasSubstr("ipcq-test-"), HasSubstr("reserving 256.0 MiB of /dev/shm")));
}

}  // namespace
}  // namespace ipcq_test
