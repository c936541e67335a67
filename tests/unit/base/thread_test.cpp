#include "base/thread.hpp"

#include <gmock/gmock.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <future>

#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/error.hpp"
#include "process/without.hpp"
#include "unit/child.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;
using ipcq_test::error_of;
using testing::AllOf;
using testing::HasSubstr;

bool is_blocked(int signal) {
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return ::sigismember(&mask, signal) == 1;
}

TEST(Thread, LeavesSignalsToTheProgramsOwn) {
  for (const bool require : {true, false}) {
    std::atomic<bool> term{false};
    std::atomic<bool> user{false};
    std::thread thread;
    const auto run = [&] {
      term = is_blocked(SIGTERM);
      user = is_blocked(SIGUSR1);
    };
    if (require) {
      require_thread(thread, "test", run);
    } else {
      EXPECT_TRUE(start_thread(thread, run));
    }
    thread.join();
    EXPECT_TRUE(term);
    EXPECT_TRUE(user);
    EXPECT_FALSE(is_blocked(SIGTERM));
  }
}

TEST(Thread, TheCallersOwnMaskComesBack) {
  sigset_t usr2;
  sigset_t before;
  ::sigemptyset(&usr2);
  ::sigaddset(&usr2, SIGUSR2);
  ::pthread_sigmask(SIG_BLOCK, &usr2, &before);
  {
    const AllSignalsBlocked blocked;
    EXPECT_TRUE(is_blocked(SIGTERM));
  }
  EXPECT_FALSE(is_blocked(SIGTERM));
  EXPECT_TRUE(is_blocked(SIGUSR2));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST(Thread, ThatRunsIsNotStartedAgain) {
  std::promise<void> go_on;
  std::thread thread;
  std::atomic<int> runs{0};
  const auto run = [&runs, go = go_on.get_future().share()] {
    ++runs;
    go.wait();
  };
  require_thread(thread, "test", run);
  const auto id = thread.get_id();
  require_thread(thread, "test", run);
  EXPECT_TRUE(start_thread(thread, run));
  EXPECT_EQ(thread.get_id(), id);
  go_on.set_value();
  thread.join();
  EXPECT_EQ(runs, 1);
}

// In a process where each clone is refused, as at the limit of its user's processes.
TEST(Thread, ASystemThatHasNoneIsToldWithTheObject) {
  Child child([] {
    if (!ipcq_test::deny(SYS_clone3, EAGAIN) || !ipcq_test::deny(SYS_clone, EAGAIN)) ::_exit(1);
    std::thread thread;
    if (start_thread(thread, [] {}) || thread.joinable() || is_blocked(SIGTERM)) ::_exit(2);
    try {
      require_thread(thread, "this object", [] {});
    } catch (const SystemError& e) {
      const std::string text = e.what();
      const bool told = e.code() == EAGAIN && text.find("this object: pthread_create failed") != std::string::npos;
      ::_exit(told && !thread.joinable() && !is_blocked(SIGTERM) ? 0 : 3);
    }
  });
  EXPECT_EQ(child.exit_code(), 0);
}

TEST(Thread, ThatThereIsNoneIsAnErrorOfTheSystem) {
  EXPECT_THAT(error_of<SystemError>([] { throw_no_thread(EAGAIN, "that"); }),
              AllOf(HasSubstr("that: pthread_create failed"), HasSubstr("ulimit -u")));
  EXPECT_THAT(error_of<PermissionError>([] { throw_no_thread(EPERM, "that"); }), HasSubstr("clone3"));
}

TEST(Thread, OneThatIsForgottenIsNeitherJoinedNorDetached) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer reports what this is about: a thread that nobody joins";
#endif
  std::promise<void> go_on;
  std::promise<void> ended;
  std::thread thread([&] {
    go_on.get_future().wait();
    ended.set_value();
  });
  forget_thread(thread);
  EXPECT_FALSE(thread.joinable());
  forget_thread(thread);  // nothing is left to forget
  go_on.set_value();
  EXPECT_EQ(ended.get_future().wait_for(ipcq_test::kBound), std::future_status::ready);
}

}  // namespace
}  // namespace ipcq::detail
