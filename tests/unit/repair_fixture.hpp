// The fixture of the repair's tests: they build half-done states by hand, as a client killed there would leave them,
// and call the repair. Clients: 2, 3 producers; 5 and 6 members of group 0, at endpoints 0 and 1.
#pragma once

#include <gtest/gtest.h>

#include "repair/membership.hpp"
#include "repair/repair.hpp"
#include "segments.hpp"

namespace ipcq::detail {

class RepairTest : public testing::Test {
 protected:
  Segments s{Segments::small(2)};

  void SetUp() override { leave(1); }  // most tests want one group
  void leave(unsigned g) { ASSERT_TRUE(drain_left_group(s.queue(), s.pool_map(), g, leave_group(s.queue(), g))); }
  RepairReport producer_died(std::uint32_t client) {
    return repair_endpoint(s.queue(), s.pool_map(), {client, 3, EndpointKind::producer});
  }
  RepairReport consumer_died(std::uint32_t client = 5, std::uint32_t endpoint = 0) {
    return repair_endpoint(s.queue(), s.pool_map(), {client, endpoint, EndpointKind::consumer});
  }
  // Moves group 1's cursor as a member's claim of `count` tickets does, without the later steps.
  std::uint64_t claim_take(std::uint32_t client, std::uint32_t count = 1) {
    const Cursor v = s.ring().cursor(1);
    EXPECT_TRUE(s.ring().swap_cursor(1, v, {v.next + count, client, count, 0, false}));
    return v.next;
  }
  void mark_held(std::uint32_t entry, std::uint64_t ticket, std::uint32_t client = 5) {
    Descriptor d;
    ASSERT_EQ(s.ring().read(ticket, d, s.held(entry).data.edit()), LineRead::present);
    s.held(entry).descriptor.store(d);
    s.held(entry).ticket.store(ticket, std::memory_order_relaxed);
    s.held(entry).word.store(pack(HeldWord{HeldState::held, client, 0, 0}), std::memory_order_release);
  }
  void expect_nothing_left() {
    EXPECT_TRUE(s.all_slots_free());
    for (std::uint32_t i = 0; i < s.queue().held().size(); ++i) EXPECT_EQ(s.held_word(i).state, HeldState::free) << i;
    EXPECT_EQ(s.claim(9, 4).count, 4u);  // every line can be written again
  }
};

}  // namespace ipcq::detail
