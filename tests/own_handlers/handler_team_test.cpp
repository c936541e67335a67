// The teams of lanes that share a message of a handler of the user's.
#include <cstring>
#include <numeric>
#include <span>
#include <vector>

#include "own_handlers/on_backend.hpp"

namespace ipcq_test {
namespace {

class HandlerTeamTest : public ByEachExecutor {};
INSTANTIATE_TEST_SUITE_P(, HandlerTeamTest, testing::ValuesIn(ByEachExecutor::all()), ByEachExecutor::name_of);

// A sum over the message by a team that waits for itself, with scratch memory.
TEST_P(HandlerTeamTest, TeamsOfAWarpAndOfABlockWaitForEachOther) {
  const std::string sum =
      "    auto* const part = reinterpret_cast<std::uint32_t*>(team.scratch());\n"
      "    const auto words = m.elements<std::uint32_t>();\n"
      "    std::uint32_t mine = 0;\n"
      "    for (std::uint64_t i = team.rank(); i < words.size(); i += team.size()) mine += words[i];\n"
      "    part[team.rank()] = mine;\n"
      "    team.sync();\n"
      "    if (team.rank() != 0) return;\n"
      "    mine = 0;\n"
      "    for (std::uint64_t i = 0; i < team.size(); ++i) mine += part[i];\n"
      "    words[0] = mine;\n"
      "    if (!m.record_of_batch) m.resize(4);";
  for (const char* sharing : {"thread", "warp", "block"}) {
    QueueOptions o = options(full(std::string(sharing) + ".cu", sum,
                                  "  static constexpr auto sharing = ipcq::Sharing::" + std::string(sharing) +
                                      ";\n  static constexpr unsigned scratch_bytes = 2048;"));
    const std::string queue = "q-" + std::string(sharing);
    o.size = 1 << 18;
    o.slots = 8;
    o.batch = Batch::records;
    broker().create(queue, o);
    auto c = session().consumer(queue);
    auto p = session().producer(queue);
    std::vector<std::uint32_t> words(60'000);
    std::iota(words.begin(), words.end(), 1);
    std::vector<std::span<const std::byte>> records;
    const auto check = [&](std::size_t count, bool record) {
      const auto m = c.receive(kBound);
      ASSERT_TRUE(m) << sharing << " " << count;
      EXPECT_TRUE(m->processed());
      std::uint32_t got = 0;
      ASSERT_EQ(m->length(), record ? count * 4 : 4);
      std::memcpy(&got, m->bytes().data(), 4);
      EXPECT_EQ(got, count * (count + 1) / 2) << sharing << " " << count << " " << record;
    };
    for (const std::size_t count : {1, 7, 16, 100, 1000, 60'000}) {
      ASSERT_EQ(p.send(std::as_bytes(std::span(words).first(count)), kBound), Status::ok);
      check(count, false);
      if (count <= 1000) records.push_back(std::as_bytes(std::span(words).first(count)));
    }
    ASSERT_EQ(p.send_many(records, kBound).count, records.size());
    for (const std::size_t count : {1, 7, 16, 100, 1000}) check(count, true);
    std::vector<std::span<const std::byte>> many(200, std::as_bytes(std::span(words).first(10)));
    for (const auto& one : many) ASSERT_EQ(p.send(one, kBound), Status::ok);
    for (std::size_t i = 0; i < many.size(); ++i) check(10, false);
  }
}

}  // namespace
}  // namespace ipcq_test
