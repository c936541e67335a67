// Whom the control socket turns away, and what it does without descriptors. The shares themselves: admission_test.cpp;
// with processes: process/hostile_client_test.cpp.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "base/deadline.hpp"
#include "broker/control_socket_fixture.hpp"
#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/error.hpp"
#include "sanitizer.hpp"
#include "unit/descriptor_shortage.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::DescriptorShortage;
using ipcq_test::error_of;
using ipcq_test::eventually;
using ipcq_test::OpenFilesLimit;
using ipcq_test::RawClient;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uid_t kNobody = 65534;

class ControlSocketLimitsTest : public ControlSocketTest {
 protected:
  void open_to_all() const {
    ASSERT_EQ(::chmod(directory_.path().c_str(), 0755), 0);
    ASSERT_EQ(::chmod(parts_.context.name.socket_path().c_str(), 0666), 0);
  }
  RawClient& connect_as_nobody() {
    const auto become = [](uid_t id) { return ::syscall(SYS_setresuid, -1, id, -1) == 0; };  // this thread alone
    EXPECT_TRUE(become(kNobody));
    RawClient& client = connect();
    EXPECT_TRUE(become(0));
    return client;
  }
  void use_up_reserve(DescriptorShortage& none) {
    while (parts_.context.reserve.lend()) {
    }
    none.take_all();
  }
  // Whether a pause is over, once resume() has been called.
  bool resumes() {
    socket_.resume();
    return socket_.due_in_ms() == -1;
  }
};

TEST_F(ControlSocketLimitsTest, AUserHasFewConnectionsThatHaveSaidNoHello) {
  const OpenFilesLimit limit(71);
  for (int i = 0; i < 8; ++i) accepted();
  RawClient& ninth = connect();
  socket_.accept();
  EXPECT_EQ(all().size(), 8u);
  const Reply told = ninth.receive();
  EXPECT_EQ(told.refusal, Refusal::busy);
  EXPECT_EQ(told.serial, 0u) << "it answers no request";
  EXPECT_THAT(told.text, AllOf(HasSubstr(parts_.context.self()), HasSubstr("user " + std::to_string(::geteuid())),
                               HasSubstr("has 8 connections that have said no hello"), HasSubstr("after 5 s")));
  EXPECT_TRUE(ninth.ends());
  all().front()->attached = true;
  accepted();
}

TEST_F(ControlSocketLimitsTest, UsersOtherThanTheOwnerLeaveHalfOfTheDescriptors) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  open_to_all();
  const OpenFilesLimit limit(128);
  for (int i = 0; i < 31; ++i) {
    ConnectedClient& foreign = parts_.connect();
    foreign.uid = kNobody;
    foreign.pidfd.reset();  // the test's own descriptors must fit as well
  }
  parts_.other_ends.clear();
  RawClient& last = connect_as_nobody();
  RawClient& excess = connect_as_nobody();
  socket_.accept();
  ASSERT_EQ(all().size(), 32u);
  EXPECT_EQ(all().back()->uid, kNobody);
  const Reply told = excess.receive();
  EXPECT_EQ(told.refusal, Refusal::shortage);
  EXPECT_THAT(told.text, HasSubstr("users other than its own have 32 connections, all that its limit"));
  EXPECT_TRUE(excess.ends());
  EXPECT_FALSE(has_hung_up(last.socket()));
  accepted();  // the owner
}

// The reserve has four. Two connections of the owner take one each; a third is told by means of one that it gives back.
TEST_F(ControlSocketLimitsTest, WithoutADescriptorTheReserveAdmitsTheOwnerAndKeepsTwo) {
  if (ipcq_test::kChecksNeedDescriptors) GTEST_SKIP() << "the sanitizer's own checks need descriptors";
  ASSERT_EQ(parts_.context.reserve.size(), 4u);
  for (int i = 0; i < 8; ++i) connect();
  const DescriptorShortage none;
  socket_.accept();
  EXPECT_EQ(all().size(), 2u);
  parts_.context.reserve.fill();  // as the event loop does after each round
  EXPECT_EQ(parts_.context.reserve.size(), 2u);
  for (int i = 2; i < 8; ++i) {
    const Reply told = others_[i]->receive();
    EXPECT_EQ(told.refusal, Refusal::shortage);
    EXPECT_THAT(told.text, AllOf(HasSubstr("no descriptor left for another client"), HasSubstr("ulimit -n, now ")));
    EXPECT_TRUE(others_[i]->ends());
  }
  EXPECT_GT(socket_.due_in_ms(), 4000) << "no pause was needed";
}

TEST_F(ControlSocketLimitsTest, TheReserveAdmitsNobodyElse) {
  if (ipcq_test::kChecksNeedDescriptors) GTEST_SKIP() << "the sanitizer's own checks need descriptors";
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  open_to_all();
  for (int i = 0; i < 8; ++i) connect_as_nobody();
  const DescriptorShortage none;
  socket_.accept();
  EXPECT_THAT(all(), IsEmpty());
  EXPECT_EQ(others_.front()->receive().refusal, Refusal::shortage);
  parts_.context.reserve.fill();
  EXPECT_EQ(parts_.context.reserve.size(), 4u);
}

TEST_F(ControlSocketLimitsTest, WithoutAnyDescriptorAcceptingPausesAndGoesOn) {
  if (ipcq_test::kChecksNeedDescriptors) GTEST_SKIP() << "the sanitizer's own checks need descriptors";
  connect();
  DescriptorShortage none;
  use_up_reserve(none);
  const std::uint64_t before = now_ns();
  EXPECT_THAT(error_of<SystemError>([&] { socket_.accept(); }),
              AllOf(HasSubstr("control socket " + parts_.context.name.socket_path()), HasSubstr("accept4 failed"),
                    HasSubstr("clients wait")));
  EXPECT_FALSE(is_watched(socket_.socket())) << "it would wake the loop again and again";
  EXPECT_EQ(socket_.due_in_ms(), 100);
  ASSERT_TRUE(eventually([&] { return resumes(); }));
  EXPECT_GE(now_ns() - before, 100'000'000u);
  EXPECT_TRUE(is_watched(socket_.socket()));
  for (int i = 0; i < 5; ++i) none.free_one();  // four are the reserve's
  socket_.accept();
  EXPECT_EQ(all().size(), 1u);
}

TEST_F(ControlSocketLimitsTest, APauseThatCannotEndGoesOn) {
  if (ipcq_test::kChecksNeedDescriptors) GTEST_SKIP() << "the sanitizer's own checks need descriptors";
  connect();
  {
    DescriptorShortage none;
    use_up_reserve(none);
    EXPECT_THROW(socket_.accept(), SystemError);
  }
  parts_.context.polls.watch(socket_.socket());  // so that nothing can add it
  EXPECT_TRUE(eventually([&] {
    try {
      socket_.resume();
    } catch (const SystemError&) {
      return true;
    }
    return false;
  }));
  EXPECT_NO_THROW(socket_.resume()) << "not before the time is over once more";
  EXPECT_EQ(socket_.due_in_ms(), 100);
  parts_.context.polls.unwatch(socket_.socket());
  EXPECT_TRUE(eventually([&] { return resumes(); }));
  EXPECT_TRUE(is_watched(socket_.socket()));
}

}  // namespace
}  // namespace ipcq::detail
