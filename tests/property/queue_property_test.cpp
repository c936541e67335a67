// Random sequences of everything that clients can do, on two small queues with one pool and every policy, compared step
// by step with reference_queue.hpp: statuses, order, exactly-once for each group, and the broker's accounting.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "world.hpp"

namespace ipcq {
namespace {

rc::Gen<Op> any_op() {
  // Sends and receives more often than the rest.
  const auto kind = rc::gen::weightedElement<std::uint8_t>({{8, 0},
                                                            {4, 1},
                                                            {3, 2},
                                                            {5, 3},
                                                            {5, 4},
                                                            {1, 5},
                                                            {10, 6},
                                                            {4, 7},
                                                            {9, 8},
                                                            {3, 9},
                                                            {5, 10},
                                                            {2, 11},
                                                            {1, 12},
                                                            {1, 13},
                                                            {1, 14},
                                                            {4, 15},
                                                            {4, 16}});
  return rc::gen::apply(
      [](std::uint8_t k, std::uint8_t a, std::uint8_t b) {
        return Op{k, a, b};
      },
      kind, rc::gen::arbitrary<std::uint8_t>(), rc::gen::arbitrary<std::uint8_t>());
}

void behaves_like_the_reference(const std::vector<GroupOptions>& groups) {
  const auto policy = rc::gen::element(Backpressure::block, Backpressure::reject, Backpressure::drop_oldest);
  const auto first = *policy;
  const auto second = *policy;
  const auto ops = *rc::gen::scale(2.0, rc::gen::container<std::vector<Op>>(any_op()));
  World world(first, second, groups);
  for (const Op& op : ops) {
    world.apply(op);
    world.check();
  }
  world.finish();
}

RC_GTEST_PROP(QueueProperty, BehavesLikeTheReferenceWithOneGroup, ()) {
  behaves_like_the_reference({{"g0", GroupPolicy::must}});
}
RC_GTEST_PROP(QueueProperty, BehavesLikeTheReferenceWithTwoGroups, ()) {
  behaves_like_the_reference({{"g0", GroupPolicy::must}, {"g1", GroupPolicy::must}});
}
RC_GTEST_PROP(QueueProperty, BehavesLikeTheReferenceWithALossyGroup, ()) {
  behaves_like_the_reference({{"g0", GroupPolicy::must}, {"g1", GroupPolicy::lossy}});
}
RC_GTEST_PROP(QueueProperty, BehavesLikeTheReferenceWithOnlyALossyGroup, ()) {
  behaves_like_the_reference({{"g0", GroupPolicy::lossy}});
}
RC_GTEST_PROP(QueueProperty, BehavesLikeTheReferenceWithoutDeclaredGroups, ()) { behaves_like_the_reference({}); }

}  // namespace
}  // namespace ipcq
