// The schemas in a queue's segment (layout/schema_words.hpp), as those see them who have mapped it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "queue/queue_map.hpp"

namespace ipcq::detail {
namespace {

TEST(QueueSchema, ASchemaIsTheTextThatItsHashNames) {
  const std::string name = "ipcq-schema-test-" + std::to_string(::getpid());
  const auto pool = PoolMap::create(name + "-pool", "p", {.slots = 1}, nullptr, 1, {});
  const auto made = QueueMap::create(name + "-queue", "q", {}, QueueMap::Executed::none, pool->config(), 2, {});
  const auto queue = QueueMap::open(name + "-queue", 0);
  EXPECT_EQ(queue->schema(kSchemaIn), "");
  made->set_schema(kSchemaIn, "u64");
  made->set_schema(kSchemaOut, std::string(kMostSchemaBytes, 'x'));
  EXPECT_EQ(queue->schema(kSchemaIn), "u64");
  EXPECT_EQ(queue->schema(kSchemaOut).size(), kMostSchemaBytes);
  auto* const words = reinterpret_cast<SchemaWords*>(made->segment().data() + made->config().schemas_offset);
  words[0].text[0].store('i', std::memory_order_relaxed);
  EXPECT_EQ(queue->schema(kSchemaIn), "") << "somebody has written over it";
  std::uint64_t part = 0;
  std::memcpy(&part, "u64", 3);
  words[0].text[0].store(part, std::memory_order_relaxed);
  EXPECT_EQ(queue->schema(kSchemaIn), "u64");
  words[0].length.store(kMostSchemaBytes + 1, std::memory_order_relaxed);
  EXPECT_EQ(queue->schema(kSchemaIn), "");
  words[0].length.store(~std::uint64_t{0}, std::memory_order_relaxed);
  EXPECT_EQ(queue->schema(kSchemaIn), "");
  made->set_schema(kSchemaIn, "");
  EXPECT_EQ(queue->schema(kSchemaIn), "");
}

TEST(QueueSchema, OfTheOptionsIsThereFromTheBeginning) {
  const std::string name = "ipcq-schema-test-" + std::to_string(::getpid());
  const auto pool = PoolMap::create(name + "-pool", "p", {.slots = 1}, nullptr, 1, {});
  const QueueOptions options = {.schema = "u8", .result_schema = "u16"};
  const auto made = QueueMap::create(name + "-queue", "q", options, QueueMap::Executed::none, pool->config(), 2, {});
  EXPECT_EQ(made->schema(kSchemaIn), "u8");
  EXPECT_EQ(made->schema(kSchemaOut), "u16");
}

}  // namespace
}  // namespace ipcq::detail
