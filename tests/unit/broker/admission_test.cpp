// How many of the broker's descriptors clients may take. With clients: process/hostile_client_test.cpp.
#include "broker/admission.hpp"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "unit/child.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;

TEST(AdmissionShare, IsAPartOfTheOpenFilesWithinBounds) {
  EXPECT_EQ(share_of(0).half_open, 8u);
  EXPECT_EQ(share_of(71).half_open, 8u);
  EXPECT_EQ(share_of(72).half_open, 9u);
  EXPECT_EQ(share_of(2055).half_open, 256u);
  EXPECT_EQ(share_of(1u << 20).half_open, 256u);
  EXPECT_EQ(share_of(1001).foreign, 500u);
}

TEST(AdmissionShare, ANewcomerIsTheLastThatFits) {
  const Share share{.half_open = 3, .foreign = 7};
  const uid_t foreign = ::geteuid() + 1;
  EXPECT_EQ(admit(foreign, {.half_open = 2, .foreign_connections = 2}, share), Admittance::yes);
  EXPECT_EQ(admit(foreign, {.half_open = 2, .foreign_connections = 3}, share), Admittance::too_many_foreign);
  EXPECT_EQ(admit(foreign, {.half_open = 3}, share), Admittance::too_many_half_open);
  EXPECT_EQ(admit(::geteuid(), {.half_open = 3}, share), Admittance::too_many_half_open);  // of the owner's own
  EXPECT_EQ(admit(::geteuid(), {.half_open = 2, .foreign_connections = 9}, share), Admittance::yes);
  EXPECT_TRUE(is_owner(0));
  EXPECT_TRUE(is_owner(::geteuid()));
  EXPECT_FALSE(is_owner(foreign));
}

TEST(AdmissionShare, TheLimitIsThatOfThisProcess) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(open_files_limit(), limit.rlim_cur);
}

TEST(DescriptorReserve, GivesBackWhatIsMissingElsewhere) {
  Child child([] {
    DescriptorReserve reserve;
    if (reserve.lend()) ::_exit(1);
    reserve.fill();
    reserve.fill();
    const std::size_t size = reserve.size();
    const Fd last(::eventfd(0, EFD_CLOEXEC));
    const rlimit full{static_cast<rlim_t>(last.get()) + 1, static_cast<rlim_t>(last.get()) + 1};
    if (size != 4 || ::setrlimit(RLIMIT_NOFILE, &full) != 0) ::_exit(2);
    if (Fd(::eventfd(0, EFD_CLOEXEC)) || errno != EMFILE) ::_exit(3);
    std::vector<Fd> taken;
    for (std::size_t i = 0; i < size; ++i) {
      if (!reserve.lend()) ::_exit(4);
      taken.emplace_back(::eventfd(0, EFD_CLOEXEC));
      if (!taken.back()) ::_exit(5);
    }
    if (reserve.lend()) ::_exit(6);
    reserve.fill();  // nothing is left for it
    if (reserve.size() != 0) ::_exit(7);
    taken.pop_back();
    reserve.fill();
    ::_exit(reserve.size() == 1 ? 0 : 8);
  });
  EXPECT_EQ(child.exit_code(), 0);
}

}  // namespace
}  // namespace ipcq::detail
