// A call entry whose words another process has overwritten: whoever closes it comes to an end.
#include "protocol/calls.hpp"

#include <gtest/gtest.h>

#include <random>

namespace ipcq::detail {
namespace {

TEST(CallsTest, AnOverwrittenWordHoldsNobodyUp) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 20'000; ++i) {
    CallEntry entry{};
    const CallerSide<SharedAtomics> caller(entry);
    const AnswerSide<SharedAtomics> server(entry, caller.open(0), 7);
    // Each of a single bit first, then any.
    entry.word.store(i < 64 ? entry.word.load(std::memory_order_relaxed) ^ (std::uint64_t{1} << i) : random(),
                     std::memory_order_relaxed);
    (void)caller.go_on();
    (void)server.begin(false);
    (void)server.publish(Answer::reply, false, false);
    server.begin_to_change();
    (void)server.finish(server.kDied, true, {});
    (void)caller.close([](const SlotLoan&) {});
    const CallState left = caller.look().state;
    EXPECT_TRUE(left == CallState::free || left == CallState::cancelled || left > CallState::cancelled);
  }
}

}  // namespace
}  // namespace ipcq::detail
