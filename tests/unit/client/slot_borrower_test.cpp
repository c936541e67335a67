// In which order a producer gets slots, and that it does not wait long for more than one. Free bits and words:
// unit/protocol/pool_test.cpp.
#include "client/slot_borrower.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "unit/segments.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;
using namespace ipcq::detail;
using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kClient = 2;

TEST(SlotBorrower, GetsTheSlotThatWasReleasedLastAfterAllOthers) {
  Segments s(Segments::small(), 4);
  SlotBorrower borrower(s.pool_map(), kClient, Backpressure::block, Wait::spin());
  const SlotLoan first = borrower.borrow();
  EXPECT_TRUE(s.pool().give_back(first, kClient));
  for (int i = 0; i < 3; ++i) EXPECT_NE(borrower.borrow().slot, first.slot);
  EXPECT_EQ(borrower.borrow().slot, first.slot);
  EXPECT_EQ(borrower.borrow().slot, kNone);
}

// Nobody frees any: a call that waits for more must not take long, and the next ones nothing.
TEST(SlotBorrower, DoesNotWaitWhereNoneBecomesFree) {
  Segments s(Segments::small(), 16);
  for (const auto policy : {Backpressure::block, Backpressure::reject, Backpressure::drop_oldest}) {
    SlotBorrower borrower(s.pool_map(), kClient, policy, Wait::spin());
    while (borrower.borrow().slot != kNone) {
    }
    const auto start = Clock::now();
    Deadline deadline(kForever);
    for (int i = 0; i < 64; ++i) borrower.await_some(deadline);
    EXPECT_LT(Clock::now() - start, std::chrono::milliseconds(100));
  }
}

TEST(SlotBorrower, LetsAQuarterBecomeFree) {
  Segments s(Segments::small(), 16);
  SlotBorrower borrower(s.pool_map(), kClient, Backpressure::block, Wait::spin());
  std::vector<SlotLoan> loans;
  for (SlotLoan loan; (loan = borrower.borrow()).slot != kNone;) loans.push_back(loan);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(s.pool().give_back(loans[static_cast<std::size_t>(i)], kClient));
  Deadline deadline(kForever);
  borrower.await_some(deadline);
  EXPECT_EQ(s.pool().count_free(16), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_NE(borrower.borrow().slot, kNone);
}

}  // namespace
}  // namespace ipcq_test
