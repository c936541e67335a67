// Lines of every size, on the host alone: what fits travels in its line, byte for byte and without a slot, on every way
// to receive.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <stdexcept>
#include <thread>
#include <vector>

#include "conformance/backend.hpp"
#include "ipcq/error.hpp"
#include "stamped.hpp"

namespace ipcq_test {
namespace {

constexpr std::uint32_t kSizes[] = {64, 128, 192, 1088, 2048};

class LineSize : public BackendTest {
 protected:
  static bool is(std::span<const std::byte> got, std::size_t length, unsigned seed) {
    const auto expected = patterned(length, seed);
    return std::equal(got.begin(), got.end(), expected.begin(), expected.end());
  }
  // From none to one byte more than fits.
  static std::vector<std::size_t> lengths(std::uint32_t line) {
    const std::size_t most = line - 32;
    std::vector<std::size_t> all = {0, 1, 7, 8, 15, 16, 17, 31, 32};
    for (const std::size_t back : {17, 16, 15, 1, 0}) {
      if (most > 32 + back) all.push_back(most - back);
    }
    all.push_back(most + 1);
    return all;
  }
};

IPCQ_INSTANTIATE_PER_BACKEND(LineSize);

TEST_P(LineSize, SaysWhatFitsIntoALine) {
  for (const std::uint32_t line : kSizes) {
    const std::string q = "q" + std::to_string(line);
    create(q, {.slots = 2, .size = 4096, .line = line});
    EXPECT_EQ(producer(q).inline_bytes(), line - 32);
    EXPECT_EQ(stats(q).line_bytes, line);
    EXPECT_EQ(stats(q).inline_bytes, line - 32);
    create("only" + q, {.slots = 0, .line = line});
    auto p = producer("only" + q);
    EXPECT_EQ(p.max_bytes(), line - 32);
    EXPECT_EQ(p.send(patterned(line - 31, 0), kBound), Status::too_large);
  }
}

TEST_P(LineSize, EveryLengthArrivesOnEveryWay) {
  for (const std::uint32_t line : kSizes) {
    const std::string q = "q" + std::to_string(line);
    create(q, {.slots = 2, .size = 4096, .line = line});
    auto p = producer(q);
    auto c = consumer(q);
    unsigned seed = 0;
    for (const std::size_t length : lengths(line)) {
      const auto where = "line " + std::to_string(line) + ", length " + std::to_string(length);
      const bool in_line = length <= line - 32;
      const auto bytes = patterned(length, ++seed);
      ASSERT_EQ(p.send(bytes, kBound), Status::ok) << where;
      auto m = c.receive(kBound);
      ASSERT_EQ(m.status(), Status::ok) << where;
      EXPECT_TRUE(is(m->bytes(), length, seed)) << where;
      EXPECT_EQ(stats(q).empty, in_line ? 2u : 1u) << where;
      (void)m->release();

      ASSERT_EQ(p.send(bytes, kBound), Status::ok);
      std::vector<std::byte> buffer(length);
      auto view = c.receive_into(buffer, kBound);
      ASSERT_EQ(view.status(), Status::ok) << where;
      EXPECT_TRUE(is(view->bytes(), length, seed)) << where;

      ASSERT_EQ(p.send(bytes, kBound), Status::ok);
      const auto see = [&](const MessageView& shown) { EXPECT_TRUE(is(shown.bytes(), length, seed)) << where; };
      EXPECT_EQ(c.consume(see, kBound, 1).count, 1u) << where;
    }
  }
}

// What is left of a claim goes from its lines to held entries.
TEST_P(LineSize, ACallbackThatThrowsLeavesEveryByteToTheNext) {
  for (const std::uint32_t line : kSizes) {
    const std::string q = "q" + std::to_string(line);
    create(q, {.slots = 2, .size = 4096, .lines = 16, .line = line});
    auto p = producer(q);
    auto c = consumer(q);
    for (unsigned i = 0; i < 4; ++i) ASSERT_EQ(p.send(patterned(line - 32 - i, i), kBound), Status::ok);
    const auto refuse = [](const MessageView&) { throw std::runtime_error("refused"); };
    EXPECT_THROW((void)c.consume(refuse, kBound), std::runtime_error);
    for (unsigned i = 0; i < 4; ++i) {
      auto m = c.receive(kBound);
      ASSERT_EQ(m.status(), Status::ok);
      EXPECT_TRUE(is(m->bytes(), line - 32 - i, i)) << line << ", message " << i;
      EXPECT_EQ(m->redeliveries(), i == 0 ? 1u : 0u);
    }
  }
}

TEST_P(LineSize, ABufferThatIsTooSmallIsNotWritten) {
  for (const std::uint32_t line : kSizes) {
    const std::string q = "q" + std::to_string(line);
    create(q, {.slots = 2, .size = 4096, .line = line});
    auto p = producer(q);
    auto c = consumer(q);
    const std::size_t length = line - 32;
    ASSERT_EQ(p.send(patterned(length, 1), kBound), Status::ok);
    for (const std::size_t room : {std::size_t{0}, length / 2, length - 1}) {
      std::vector<std::byte> buffer(length, std::byte{0x5a});
      EXPECT_EQ(c.receive_into(std::span(buffer).first(room), kBound).status(), Status::too_large) << room;
      EXPECT_EQ(std::count(buffer.begin(), buffer.end(), std::byte{0x5a}), static_cast<std::ptrdiff_t>(length)) << room;
    }
    EXPECT_EQ(c.receive_into({}, kBound).status(), Status::too_large);
    std::vector<std::byte> buffer(length + 1, std::byte{0x5a});
    ASSERT_EQ(c.receive_into(buffer, kBound).status(), Status::ok) << "it is still the group's next";
    EXPECT_TRUE(is(std::span(buffer).first(length), length, 1)) << line;
    EXPECT_EQ(buffer.back(), std::byte{0x5a});
  }
}

TEST_P(LineSize, BatchesKeepTheirBytesWhileTheirLinesAreReused) {
  for (const std::uint32_t line : kSizes) {
    const std::string q = "q" + std::to_string(line);
    create(q, {.slots = 1, .size = 16, .lines = 8, .line = line, .held = 24});
    auto p = producer(q);
    auto c = consumer(q);
    std::array<Message, 24> held;
    for (unsigned round = 0; round < 3; ++round) {  // each fills the ring once
      std::vector<std::vector<std::byte>> batch;
      for (unsigned i = 0; i < 8; ++i) batch.push_back(patterned(line - 32 - i, round * 8 + i));
      ASSERT_EQ(p.send_many(batch, kBound).count, 8u);
      for (std::size_t got = 0; got < 8;) {
        const BatchResult r = c.receive_many(std::span(held).subspan(round * 8 + got, 8 - got), kBound);
        ASSERT_EQ(r.status, Status::ok);
        got += r.count;
      }
    }
    for (unsigned i = 0; i < held.size(); ++i) {
      EXPECT_TRUE(is(held[i].bytes(), line - 32 - i % 8, i)) << line << ", message " << i;
    }
    for (auto& m : held) ASSERT_EQ(m.nack(), Status::ok);
    for (unsigned i = 0; i < held.size(); ++i) {  // in order, and unchanged
      auto m = c.receive(kBound);
      ASSERT_EQ(m.status(), Status::ok);
      EXPECT_TRUE(is(m->bytes(), line - 32 - i % 8, i)) << line << ", message " << i;
      EXPECT_EQ(m->redeliveries(), 1u);
    }
  }
}

// Members of a group copy lines before they claim them, while the producers may be rewriting them.
TEST_P(LineSize, MembersOfAllKindsShareLongLinesThatAreSoonReused) {
  constexpr std::uint64_t kEach = 2000;
  create("q", {.slots = 0, .lines = 4, .line = 1088});
  std::vector<Producer> producers;
  std::vector<Consumer> consumers;
  for (int i = 0; i < 2; ++i) producers.push_back(producer("q"));
  for (int i = 0; i < 3; ++i) consumers.push_back(consumer("q"));
  std::atomic<std::uint64_t> intact{0}, torn{0};
  const auto see = [&](const MessageView& m) { ++(read_stamp(m.bytes()) ? intact : torn); };
  std::vector<std::thread> threads;
  for (std::uint32_t id = 0; id < 2; ++id) {
    threads.emplace_back([&, id] {
      for (std::uint64_t n = 0; n < kEach; ++n) {
        EXPECT_EQ(producers[id].send(stamped(id, n, 1056 - n % 40), kBound), Status::ok);
      }
      producers[id].close();
    });
  }
  threads.emplace_back([&] {
    std::vector<std::byte> buffer(1056);
    for (auto view = consumers[0].receive_into(buffer, kBound); view;
         view = consumers[0].receive_into(buffer, kBound)) {
      see(*view);
    }
  });
  threads.emplace_back([&] {
    while (consumers[1].consume(see, kBound, 4).status == Status::ok) {
    }
  });
  threads.emplace_back([&] {
    for (auto m = consumers[2].receive(kBound); m; m = consumers[2].receive(kBound)) {
      see(*m);
      (void)m->release();
    }
  });
  for (auto& t : threads) t.join();
  EXPECT_EQ(torn, 0u);
  EXPECT_EQ(intact, 2 * kEach);
}

TEST_P(LineSize, ForwardingCopiesBetweenDifferentLines) {
  create("long", {.slots = 2, .size = 4096, .line = 2048});
  create("short", {.slots = 1, .size = 2048, .line = 64});
  auto into_long = producer("long");
  auto into_short = producer("short");
  auto from_long = consumer("long");
  auto from_short = consumer("short");
  for (const std::size_t length : {std::size_t{32}, std::size_t{33}, std::size_t{2016}}) {
    const bool needs_slot = length > 32;
    ASSERT_EQ(into_long.send(patterned(length, 1), kBound), Status::ok);
    auto m = from_long.receive(kBound);
    ASSERT_EQ(m.status(), Status::ok);
    ASSERT_EQ(into_short.forward(*m, kBound), Status::ok) << length;
    EXPECT_FALSE(*m);
    auto there = from_short.receive(kBound);
    ASSERT_EQ(there.status(), Status::ok);
    EXPECT_TRUE(is(there->bytes(), length, 1)) << length;
    EXPECT_EQ(stats("short").empty, needs_slot ? 0u : 1u) << length;
    ASSERT_EQ(into_long.forward(*there, kBound), Status::ok) << "back into a line";
    EXPECT_EQ(stats("short").empty, 1u);
    auto back = from_long.receive(kBound);
    ASSERT_EQ(back.status(), Status::ok);
    EXPECT_TRUE(is(back->bytes(), length, 1)) << length;
    EXPECT_EQ(stats("long").empty, 2u);
  }
}

TEST_P(LineSize, OthersAreRefused) {
  for (const std::uint32_t line : {0u, 32u, 96u, 100u, 2112u, 4096u}) {
    EXPECT_THROW(create("q", {.line = line}), UsageError) << line;
  }
}

}  // namespace
}  // namespace ipcq_test
