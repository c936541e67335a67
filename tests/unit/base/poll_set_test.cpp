#include "base/poll_set.hpp"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<int> ready(const PollSet& polls, int timeout_ms) {
  const PollSet::Ready r = polls.wait(timeout_ms);
  return {r.begin(), r.end()};
}

TEST(PollSet, TellsTheDescriptorsThatHaveAnEvent) {
  PollSet polls("test");
  const Fd a = make_eventfd();
  const Fd b = make_eventfd();
  polls.watch(a.get());
  polls.watch(b.get());
  EXPECT_THAT(ready(polls, 0), IsEmpty());
  signal_eventfd(b.get());
  EXPECT_THAT(ready(polls, -1), ElementsAre(b.get()));
  polls.unwatch(b.get());
  EXPECT_THAT(ready(polls, 0), IsEmpty());
}

TEST(PollSet, OfADescriptorThatAnotherThreadReadsTellsTheEndOnly) {
  PollSet polls("test");
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  const Fd ours(ends[0]);
  Fd theirs(ends[1]);
  polls.watch(ours.get(), PollSet::For::hang_up);
  ASSERT_EQ(::send(theirs.get(), "x", 1, 0), 1);
  EXPECT_THAT(ready(polls, 0), IsEmpty());
  theirs.reset();
  EXPECT_THAT(ready(polls, 0), ElementsAre(ours.get()));
}

TEST(PollSet, ADescriptorThatCannotBeWatchedIsAnErrorOfTheOwner) {
  PollSet polls("broker 'b'");
  try {
    polls.watch(1 << 20);
    FAIL() << "no error";
  } catch (const SystemError& e) {
    EXPECT_THAT(e.what(), HasSubstr("broker 'b': epoll_ctl failed"));
    EXPECT_EQ(e.code(), EBADF);
  }
  polls.unwatch(1 << 20);  // does nothing
}

}  // namespace
}  // namespace ipcq::detail
