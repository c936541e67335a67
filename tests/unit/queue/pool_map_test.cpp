// The metadata of a pool's slots (layout/slot_metadata.hpp).
#include "queue/pool_map.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <span>
#include <string>

namespace ipcq::detail {
namespace {

TEST(PoolMapTest, MetadataAreThoseOfTheLeaseThatTheyName) {
  const auto pool = PoolMap::create("ipcq-pool-test-" + std::to_string(::getpid()), "p",
                                    {.slots = 3, .size = 64, .metadata = 20}, nullptr, 9, {});
  const std::string bytes(20, 'm');
  const auto given = std::as_bytes(std::span(bytes));
  const auto text = [&](std::uint32_t slot, std::uint64_t lease) {
    const auto got = pool->metadata(slot, lease);
    return std::string(reinterpret_cast<const char*>(got.data()), got.size());
  };
  EXPECT_EQ(text(1, 5), "");
  EXPECT_EQ(pool->give_metadata({1, 5}, given), Status::ok);
  EXPECT_EQ(pool->give_metadata({2, 5}, given.first(3)), Status::ok);
  const std::string longer(21, 'm');
  EXPECT_EQ(pool->give_metadata({1, 5}, std::as_bytes(std::span(longer))), Status::too_large);
  EXPECT_EQ(text(1, 5), bytes);
  EXPECT_EQ(text(2, 5), "mmm");
  EXPECT_EQ(text(1, 6), "") << "of the next loan";
  EXPECT_EQ(text(0, 5), "");
  EXPECT_EQ(text(3, 5), "") << "no slot";
  EXPECT_EQ(text(kNone, 5), "");
  auto* const entry =
      reinterpret_cast<SlotMetadata*>(pool->segment().data() + pool->config().metadata_offset + metadata_stride(20));
  entry->length = 21;
  EXPECT_EQ(text(1, 5), "");
}

TEST(PoolMapTest, WithoutMetadataNothingCanBeGiven) {
  const auto pool = PoolMap::create("ipcq-pool-test-" + std::to_string(::getpid()), "p", {.slots = 3}, nullptr, 9, {});
  EXPECT_EQ(pool->give_metadata({1, 5}, {}), Status::ok);
  EXPECT_EQ(pool->give_metadata({1, 5}, std::as_bytes(std::span("m"))), Status::too_large);
  EXPECT_TRUE(pool->metadata(1, 5).empty());
}

}  // namespace
}  // namespace ipcq::detail
