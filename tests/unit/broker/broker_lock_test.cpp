// The lock file of a broker, and what may lie in its place.
#include "broker/broker_lock.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "errors.hpp"
#include "unit/child.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq::detail {
namespace {

namespace fs = std::filesystem;
using ipcq_test::Child;
using ipcq_test::error_of;
using testing::AllOf;
using testing::HasSubstr;

class LockOfABroker : public testing::Test {
 protected:
  std::string path() const { return place_.lock_path(); }
  std::string content() const {
    std::ifstream in(path());
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& text) const { std::ofstream(path()) << text; }
  std::string refusal() const {
    return error_of<UsageError>([&] { const BrokerLock lock(place_); });
  }
  const std::string mark_ = "ipcq-broker " + std::to_string(::getpid()) + "\n";
  const ipcq_test::TemporaryDirectory directory_;
  const BrokerPlace place_{directory_.at("s"), BrokerPlace::Use::serve};
};

TEST_F(LockOfABroker, IsForItsUserAloneAndSaysWhoseItIs) {
  BrokerLock lock(place_);
  EXPECT_FALSE(lock.was_left());
  EXPECT_EQ(fs::status(path()).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  lock.mark();
  EXPECT_EQ(content(), mark_);
  const LockState state = read_lock_state(place_);
  EXPECT_TRUE(state.is_ours);
  EXPECT_TRUE(state.held);
  EXPECT_EQ(state.pid, ::getpid());
}

TEST_F(LockOfABroker, IsTakenByOneAtATime) {
  BrokerLock lock(place_);
  lock.mark();
  EXPECT_THAT(refusal(), AllOf(HasSubstr("a live broker has this name"), HasSubstr("pid " + std::to_string(::getpid())),
                               HasSubstr("--name")));
  EXPECT_EQ(content(), mark_);
  lock.remove();
  EXPECT_FALSE(fs::exists(path()));
  lock.remove();
  EXPECT_NO_THROW(BrokerLock{place_});
}

TEST_F(LockOfABroker, GoesAgainUnlessItWasMarked) {
  { const BrokerLock lock(place_); }
  EXPECT_FALSE(fs::exists(path()));
  { BrokerLock(place_).mark(); }
  EXPECT_TRUE(fs::exists(path()));
  EXPECT_FALSE(read_lock_state(place_).held);
}

TEST_F(LockOfABroker, ThatADeadOneLeftIsTakenOver) {
  Child dead([&] { (new BrokerLock(place_))->mark(); });
  EXPECT_EQ(dead.exit_code(), 0);
  EXPECT_EQ(read_lock_state(place_).pid, dead.pid());
  EXPECT_FALSE(read_lock_state(place_).held);
  fs::permissions(path(), fs::perms::all);
  {
    BrokerLock lock(place_);
    EXPECT_TRUE(lock.was_left());
    EXPECT_EQ(fs::status(path()).permissions() & fs::perms(077), fs::perms::none);
    lock.mark();
    EXPECT_EQ(content(), mark_);
  }
  write("");  // its maker had not come to mark it
  EXPECT_FALSE(BrokerLock(place_).was_left());
}

TEST_F(LockOfABroker, AnotherFileInItsPlaceIsNotTouched) {
  for (const std::string& text :
       std::initializer_list<std::string>{"text", "ipcq-broker", mark_ + mark_, "x" + mark_, "ipcq-broker 1",
                                          "ipcq-broker 1\n" + std::string(100, 'x')}) {
    write(text);
    EXPECT_THAT(refusal(), AllOf(HasSubstr("no lock file of a broker"), HasSubstr("nothing was changed"))) << text;
    EXPECT_EQ(content(), text);
    EXPECT_FALSE(read_lock_state(place_).is_ours) << text;
  }
  fs::remove(path());
  fs::create_directory(path());
  EXPECT_THAT(refusal(), HasSubstr("is a directory"));
  fs::remove(path());
  fs::create_symlink(directory_.at("elsewhere"), path());
  EXPECT_THAT(refusal(), HasSubstr("is a symbolic link"));
  EXPECT_FALSE(fs::exists(directory_.at("elsewhere")));
  EXPECT_FALSE(read_lock_state(place_).is_ours);
  fs::remove(path());
  ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
  EXPECT_THAT(refusal(), HasSubstr("is a fifo"));  // and nobody waits for its other end
  EXPECT_FALSE(read_lock_state(place_).is_ours);
}

TEST_F(LockOfABroker, RemovesOnlyWhatIsStillItself) {
  BrokerLock lock(place_);
  lock.mark();
  fs::remove(path());
  write(mark_);  // a successor's
  lock.remove();
  EXPECT_TRUE(fs::exists(path()));
}

TEST_F(LockOfABroker, AForkedChildsCopyRemovesNothing) {
  auto lock = std::make_unique<BrokerLock>(place_);
  Child child([&] {
    lock->remove();
    lock.reset();
  });
  EXPECT_EQ(child.exit_code(), 0);
  EXPECT_TRUE(fs::exists(path()));
  EXPECT_TRUE(read_lock_state(place_).held);
}

TEST_F(LockOfABroker, MovesToWhoKeepsIt) {
  BrokerLock first(place_);
  {
    BrokerLock second(std::move(first));
    EXPECT_TRUE(read_lock_state(place_).held);
  }
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(LockOfABroker, WhereThereIsNoneNobodyHasIt) {
  EXPECT_FALSE(read_lock_state(place_).is_ours);
  EXPECT_FALSE(read_lock_state(place_).held);
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(LockOfABroker, AnObstacleIsSaidToACleanerInItsWords) {
  const Obstacle obstacle(place_, "it is a fifo", "move it away");
  EXPECT_THAT(obstacle.what(), AllOf(HasSubstr(directory_.at("s")), HasSubstr("it is a fifo; nothing was changed")));
  EXPECT_THAT(obstacle.to_cleaner(), AllOf(HasSubstr("its socket is left: it is a fifo"), HasSubstr("clean again")));
}

}  // namespace
}  // namespace ipcq::detail
