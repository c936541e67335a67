#include "base/os.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>

#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/error.hpp"
#include "unit/child.hpp"
#include "unit/environment.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;
using ipcq_test::error_of;
using ipcq_test::eventually;
using testing::AllOf;
using testing::HasSubstr;
using namespace std::string_literals;

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
bool is_readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, 0) == 1;
}
Fd some_file() { return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

TEST(Fd, IsClosedAtItsEndAndOnlyByItsOwner) {
  int number = -1;
  {
    Fd first = some_file();
    number = first.get();
    {
      const Fd second = std::move(first);
      EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move)
      EXPECT_EQ(second.get(), number);
      first = some_file();
      EXPECT_NE(first.get(), number);
    }
    EXPECT_FALSE(is_open(number));
    EXPECT_TRUE(is_open(first.get()));
    number = first.get();
  }
  EXPECT_FALSE(is_open(number));
}

TEST(Fd, ThatTakesAnotherClosesWhatItHad) {
  Fd fd = some_file();
  const int before = fd.get();
  Fd other = some_file();
  const int taken = other.get();
  fd = std::move(other);
  EXPECT_EQ(fd.get(), taken);
  EXPECT_FALSE(is_open(before));
  Fd& itself = fd;
  fd = std::move(itself);
  EXPECT_TRUE(is_open(taken));
  fd.reset();
  EXPECT_FALSE(is_open(taken));
}

TEST(Os, ACopyOfADescriptorIsTheSameFileAndStaysHere) {
  const Fd fd = some_file();
  const Fd copy = copy_of(fd, "this");
  EXPECT_NE(copy.get(), fd.get());
  EXPECT_NE(::fcntl(copy.get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_THAT(error_of<SystemError>([] { (void)copy_of(Fd(), "this one"); }),
              AllOf(HasSubstr("this one"), HasSubstr("dup failed")));
}

class LockFile : public testing::Test {
 protected:
  Fd open_file() const { return Fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)); }

  const ipcq_test::TemporaryDirectory directory_;
  const std::string path_ = directory_.at("lock");
  const Fd mine_ = open_file();
  const Fd theirs_ = open_file();
};

TEST_F(LockFile, IsLockedByOneAtATime) {
  EXPECT_FALSE(is_locked(mine_.get()));
  EXPECT_TRUE(lock_file(theirs_.get()));  // whoever looked has let it go
  EXPECT_TRUE(is_locked(mine_.get()));
  EXPECT_FALSE(lock_file(mine_.get()));
  EXPECT_EQ(errno, EWOULDBLOCK);
  ASSERT_EQ(::flock(theirs_.get(), LOCK_UN), 0);
  EXPECT_TRUE(lock_file(mine_.get()));
}

TEST_F(LockFile, OneThatIsOnlyLookedAtIsLocked) {
  bool locked = false;
  for (int i = 0; i < 20 && !locked; ++i) {  // a busy machine may keep the other thread from letting go in time
    ASSERT_EQ(::flock(theirs_.get(), LOCK_SH), 0);
    std::atomic<bool> begun{false};
    std::thread looker([&] {
      while (!begun) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      ::flock(theirs_.get(), LOCK_UN);
    });
    begun = true;
    locked = lock_file(mine_.get());
    looker.join();
    ::flock(mine_.get(), LOCK_UN);
  }
  EXPECT_TRUE(locked);
}

TEST_F(LockFile, WhatCannotBeLockedIsToldAtOnce) {
  EXPECT_FALSE(lock_file(-1));
  EXPECT_EQ(errno, EBADF);
}

TEST(Os, TheEndOfAProcessIsSeenThroughItsPidfd) {
  Child child([] { ::pause(); });
  const Fd pidfd = open_pidfd(child.pid());
  ASSERT_TRUE(pidfd);
  EXPECT_FALSE(has_ended(pidfd));
  ::kill(child.pid(), SIGKILL);
  EXPECT_TRUE(eventually([&] { return has_ended(pidfd); }));  // before anybody has waited for it
  child.reap();
  EXPECT_TRUE(has_ended(pidfd));
  EXPECT_FALSE(open_pidfd(child.pid()));
  EXPECT_EQ(errno, ESRCH);
  EXPECT_FALSE(has_ended(Fd()));
}

TEST(Os, ASocketHangsUpWithTheLastCopyOfItsOtherEnd) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  const Fd here(ends[0]);
  Fd there(ends[1]);
  Fd copy = copy_of(there, "end");
  ASSERT_EQ(::send(there.get(), "x", 1, 0), 1);
  EXPECT_FALSE(has_hung_up(here.get()));  // a message is no end
  there.reset();
  EXPECT_FALSE(has_hung_up(here.get()));
  copy.reset();
  EXPECT_TRUE(has_hung_up(here.get()));
}

TEST(Os, AStoppedProcessIsToldWhateverItIsCalled) {
  Child child([] {
    ::prctl(PR_SET_NAME, "a) T 1 (b)");
    ::raise(SIGSTOP);
    ::pause();
  });
  EXPECT_TRUE(eventually([&] { return is_stopped(child.pid()); }));
  ::kill(child.pid(), SIGCONT);
  EXPECT_TRUE(eventually([&] { return !is_stopped(child.pid()); }));
  EXPECT_FALSE(is_stopped(::getpid()));
  ::kill(child.pid(), SIGKILL);
  child.reap();
  EXPECT_FALSE(is_stopped(child.pid()));
}

TEST(Os, AnEventIsReadableUntilItIsDrained) {
  const Fd event = make_eventfd();
  EXPECT_FALSE(is_readable(event.get()));
  signal_eventfd(event.get());
  signal_eventfd(event.get());
  EXPECT_TRUE(is_readable(event.get()));
  drain_eventfd(event.get());
  EXPECT_FALSE(is_readable(event.get()));
  drain_eventfd(event.get());  // does not block
  const std::uint64_t full = ~std::uint64_t{0} - 1;
  ASSERT_EQ(::write(event.get(), &full, sizeof full), static_cast<ssize_t>(sizeof full));
  signal_eventfd(event.get());  // neither does this
  EXPECT_TRUE(is_readable(event.get()));
  EXPECT_NE(::fcntl(event.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(Os, AForkedChildIsToldApart) {
  const std::uint32_t before = fork_epoch();
  Child child([&] { ::_exit(fork_epoch() != before ? 0 : 1); });
  EXPECT_EQ(child.exit_code(), 0);
  EXPECT_EQ(fork_epoch(), before);
}

TEST(Os, WhatIsKeptForEverIsNotDestroyed) {
  std::weak_ptr<int> seen[2];
  for (auto& s : seen) {
    auto object = std::make_shared<int>(1);
    s = object;
    keep_for_ever(std::move(object));
  }
  EXPECT_FALSE(seen[0].expired());
  EXPECT_FALSE(seen[1].expired());
}

class RunDirectory : public testing::Test {
 protected:
  const ipcq_test::TemporaryDirectory directory_;
  const ipcq_test::Environment environment_{"XDG_RUNTIME_DIR", directory_.path()};
  const std::string path_ = directory_.at("ipcq");
};

TEST_F(RunDirectory, IsMadeForThisUserAloneWhenItIsAskedFor) {
  struct stat status {};
  EXPECT_EQ(run_directory(false), path_);
  EXPECT_NE(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(run_directory(true), path_);
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
  EXPECT_EQ(run_directory(true), path_);
}

TEST_F(RunDirectory, HasAPlaceWithoutAnEnvironment) {
  const ipcq_test::Environment empty("XDG_RUNTIME_DIR", "");
  const std::string uid = std::to_string(::geteuid());
  EXPECT_EQ(run_directory(false), ::geteuid() == 0 ? "/run/ipcq" : "/tmp/ipcq-" + uid);
}

TEST_F(RunDirectory, AFileInItsPlaceIsRefused) {
  const Fd file(::open(path_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_THAT(error_of<UsageError>([] { (void)run_directory(true); }),
              AllOf(HasSubstr(path_), HasSubstr("is no directory")));
  EXPECT_THAT(error_of<UsageError>([] { (void)run_directory(false); }), HasSubstr(path_));
}

TEST_F(RunDirectory, OneWithoutAParentIsToldWithWhatHelps) {
  const ipcq_test::Environment nowhere("XDG_RUNTIME_DIR", directory_.at("none"));
  EXPECT_THAT(error_of<SystemError>([] { (void)run_directory(true); }),
              AllOf(HasSubstr(directory_.at("none/ipcq")), HasSubstr("mkdir failed"), HasSubstr("XDG_RUNTIME_DIR")));
}

TEST_F(RunDirectory, HoldsTheSocketsOfBrokersByName) {
  EXPECT_EQ(socket_path_of("video"), path_ + "/video.sock");
  EXPECT_EQ(socket_path_of("./video"), "./video");
  EXPECT_THAT(error_of<UsageError>([] { (void)socket_path_of("-x"); }), HasSubstr("broker name '-x'"));
  EXPECT_THAT(error_of<UsageError>([] { (void)socket_path_of("/a\0b"s); }), HasSubstr("/a\\x00b"));
}

TEST(BrokerName, IsTheOneGivenElseThatOfTheEnvironment) {
  const ipcq_test::Environment named("IPCQ_BROKER", "video");
  EXPECT_EQ(broker_name_or_default("audio"), "audio");
  EXPECT_EQ(broker_name_or_default(""), "video");
  const ipcq_test::Environment empty("IPCQ_BROKER", "");
  EXPECT_EQ(broker_name_or_default(""), "default");
}

TEST(IsName, AllowsWhatIsSafeInAFileName) {
  for (const auto& good : {"a"s, "Z"s, "0"s, "_x"s, "a.b-c_d"s, std::string(63, 'q')})
    EXPECT_TRUE(is_name(good)) << good;
  for (const auto& bad : {""s, "."s, "-a"s, ".a"s, "a/b"s, "a b"s, "a+b"s, "a\n"s, "a\0"s, "\xc3\xa4"s, "a@"s, "a["s,
                          "a`"s, "a{"s, "a:"s, std::string(64, 'q')}) {
    EXPECT_FALSE(is_name(bad)) << bad;
  }
  EXPECT_NO_THROW(check_name("a", "queue"));
  EXPECT_THAT(error_of<UsageError>([] { check_name("a\n", "queue"); }),
              AllOf(HasSubstr("queue name 'a\\x0a'"), HasSubstr("1 to 63")));
}

TEST(CheckCString, RefusesAZeroByte) {
  EXPECT_NO_THROW(check_c_string("a", "path"));
  EXPECT_THAT(error_of<UsageError>([] { check_c_string("a\0"s, "path"); }), HasSubstr("path 'a\\x00'"));
}

TEST(Printable, ShowsControlCharactersByTheirCode) {
  EXPECT_EQ(printable("a\x1b[0m\x7f\n\0 ~\xc3\xa4"s), "a\\x1b[0m\\x7f\\x0a\\x00 ~\xc3\xa4");
}

TEST(FormatBytes, TakesTheFirstUnitOfWhichItShowsLessThan1024) {
  const std::pair<std::uint64_t, const char*> texts[] = {{0, "0 B"},
                                                         {1023, "1023 B"},
                                                         {1024, "1.0 KiB"},
                                                         {1536, "1.5 KiB"},
                                                         {1048524, "1023.9 KiB"},
                                                         {1048575, "1.0 MiB"},
                                                         {1u << 20, "1.0 MiB"},
                                                         {(std::uint64_t{1} << 40) - 1, "1.0 TiB"},
                                                         {std::uint64_t{3} << 30, "3.0 GiB"},
                                                         {std::uint64_t{1} << 40, "1.0 TiB"},
                                                         {std::uint64_t{1} << 60, "1048576.0 TiB"}};
  for (const auto& [bytes, text] : texts) EXPECT_EQ(format_bytes(bytes), text);
}

}  // namespace
}  // namespace ipcq::detail
