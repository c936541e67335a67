// Handlers that are called with the whole message: what they see of it and what they may make of it; and the teams of
// lanes that share one. On the backend that the build names, as own_handler_test.cpp.
#include <array>
#include <cstring>
#include <map>
#include <span>

#include "own_handlers/on_backend.hpp"
#include "unit/child.hpp"

namespace ipcq_test {
namespace {

class HandlerMessageTest : public ByEachExecutor {
 protected:
  GroupStats group(std::uint64_t published, std::uint64_t filtered) {
    const auto g = [&] { return stats().groups.at(0); };
    EXPECT_TRUE(eventually([&] { return g().filtered == filtered && g().held == 0 && g().waiting == 0; }))
        << g().filtered;
    EXPECT_EQ(g().published, published);
    EXPECT_EQ(g().delivered, published - filtered);
    EXPECT_EQ(g().lost, 0u);
    return g();
  }
};

INSTANTIATE_TEST_SUITE_P(, HandlerMessageTest, testing::ValuesIn(ByEachExecutor::all()), ByEachExecutor::name_of);

std::string numbered(std::size_t length, char first) {
  std::string text(length, 'x');
  text[0] = first;
  return text;
}

TEST_P(HandlerMessageTest, SeesWhoPublishedItAndWhen) {
  // Writes what it sees into the message, as far as that has room.
  broker().create("q", options(full("sees.cu",
                                    "    if (team.rank() != 0) return;\n"
                                    "    const std::uint64_t seen[] = {m.length, m.capacity, m.ticket, m.sequence,\n"
                                    "                                  m.producer, m.published_at_ns, m.record};\n"
                                    "    for (unsigned i = 0; i < 7; ++i) m.elements<std::uint64_t>()[i] = seen[i];")));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  auto other = session().producer("q");
  std::uint64_t ticket = 0;
  for (const std::size_t length : {56, 800, 8192}) {
    for (auto* from : {&p, &other}) {
      const auto m = exchange(*from, c, std::string(length, 'a'));
      ASSERT_TRUE(m);
      std::array<std::uint64_t, 7> seen{};
      std::memcpy(seen.data(), m->bytes().data(), sizeof seen);
      EXPECT_EQ(seen[0], length);
      if (length == 56) {
        EXPECT_GE(seen[1], 56u);
      } else {
        EXPECT_EQ(seen[1], 8192u);
      }
      EXPECT_EQ(seen[2], ticket++);
      EXPECT_EQ(seen[2], m->ticket());
      EXPECT_EQ(seen[3], m->sequence());
      EXPECT_EQ(seen[4], m->producer());
      EXPECT_EQ(seen[5], m->published_at_ns());
      EXPECT_EQ(seen[5] == 0, length == 56);
      EXPECT_EQ(seen[6], 0u);
    }
  }
}

TEST_P(HandlerMessageTest, ChangesTheLength) {
  // To the number in its first byte, times 8; and fills what is new.
  const std::string file = full("resizes.cu",
                                "    const std::uint64_t before = m.length;\n"
                                "    if (!m.resize(static_cast<std::uint64_t>(m.data[0]) * 8)) m.fail(7);\n"
                                "    for (std::uint64_t i = before + team.rank(); i < m.length; i += team.size())\n"
                                "      m.data[i] = std::byte{'+'};");
  broker().create("q", options(file));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  for (const std::size_t length : {1, 20, 50, 300, 2000, 2040}) {
    for (const unsigned char eighths : {0, 1, 5, 8, 100, 255}) {
      std::string text(length, 'a');
      text[0] = static_cast<char>(eighths);
      const auto m = exchange(p, c, text);
      ASSERT_TRUE(m);
      const std::size_t expected = std::size_t{eighths} * 8;
      if (length <= 64 && m->failed()) {  // beyond what a line holds
        EXPECT_EQ(m->failure(), 7);
        EXPECT_FALSE(m->processed());
        EXPECT_EQ(text_of(*m), text);
        EXPECT_GT(expected, 64u);
        continue;
      }
      EXPECT_TRUE(m->processed());
      text.resize(expected, '+');
      EXPECT_EQ(text_of(*m), text) << length << " " << expected;
    }
  }
}

// Of a large message, which several blocks of a GPU share.
TEST_P(HandlerMessageTest, ChangesTheLengthOfALargeOne) {
  QueueOptions o = options(full("grows.cu",
                                "    const std::uint64_t half = m.length;\n"
                                "    if (!m.resize(half * 2)) return;\n"
                                "    for (std::uint64_t i = team.rank(); i < half; i += team.size()) {\n"
                                "      m.data[i] = static_cast<std::byte>(static_cast<int>(m.data[i]) + 1);\n"
                                "      m.data[half + i] = std::byte{'+'};\n"
                                "    }"));
  o.slots = 4;
  o.size = 1 << 20;
  broker().create("q", o);
  auto c = session().consumer("q");
  auto p = session().producer("q");
  for (const std::size_t length : {70'000, 300'001, 524'288, 524'289}) {
    const auto m = exchange(p, c, std::string(length, 'a'));
    ASSERT_TRUE(m);
    ASSERT_TRUE(m->processed());
    if (length > o.size / 2) {
      EXPECT_EQ(m->length(), length);  // resize() refused
      continue;
    }
    EXPECT_EQ(text_of(*m), std::string(length, 'b') + std::string(length, '+')) << length;
  }
}

TEST_P(HandlerMessageTest, FailsMessagesWithACode) {
  broker().create(
      "q",
      options(full("fails.cu", "    if (m.data[0] == std::byte{'f'}) m.fail(static_cast<std::uint8_t>(m.data[1]));",
                   "  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t n) { return n >= 2; "
                   "}")));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  std::uint64_t errors = 0;
  for (const std::size_t length : {2, 64, 100, 5000}) {
    for (const unsigned char code : {1, 42, 255}) {
      std::string text = numbered(length, 'f');
      text[1] = static_cast<char>(code);
      const auto m = exchange(p, c, text);
      ASSERT_TRUE(m);
      EXPECT_TRUE(m->failed());
      EXPECT_FALSE(m->processed());
      EXPECT_EQ(m->failure(), code);
      EXPECT_EQ(text_of(*m), text);
      ++errors;
    }
    const auto m = exchange(p, c, numbered(length, 'g'));
    ASSERT_TRUE(m);
    EXPECT_TRUE(m->processed());
    EXPECT_EQ(m->failure(), 0);
  }
  const auto refused = exchange(p, c, "f");
  ASSERT_TRUE(refused);
  EXPECT_FALSE(refused->processed());
  EXPECT_FALSE(refused->failed());
  EXPECT_EQ(refused->failure(), 0);
  EXPECT_TRUE(eventually([&] { return stats().handler_errors == errors + 1; }));
}

// Drops those that begin with 'd'. Whatever way consumers read, they never see those, whose slots are free again.
TEST_P(HandlerMessageTest, DropsMessages) {
  broker().create("q", options(full("drops.cu", "    if (m.data[0] == std::byte{'d'}) m.drop();")));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  std::uint64_t published = 0, filtered = 0;
  const auto send = [&](std::size_t length, char first) {
    const std::string text = numbered(length, first);
    ASSERT_EQ(p.send(text.data(), text.size(), kBound), Status::ok);
    ++published;
    filtered += first == 'd';
  };
  std::array<std::byte, 8192> buffer{};
  for (int round = 0; round < 6; ++round) {  // more than there are slots
    for (const std::size_t length : {3, 40, 200, 8000}) {
      for (const char first : {'d', 'k', 'd'}) send(length, first);
      switch (round % 4) {
        case 0: {
          const auto m = c.receive(kBound);
          ASSERT_TRUE(m);
          EXPECT_EQ(text_of(*m), numbered(length, 'k'));
          break;
        }
        case 1: {
          std::array<Message, 8> batch;
          const BatchResult got = c.receive_many(batch, kBound);
          ASSERT_EQ(got.count, 1u);
          EXPECT_EQ(text_of(batch[0]), numbered(length, 'k'));
          break;
        }
        case 2: {
          const auto m = c.receive_into(buffer, kBound);
          ASSERT_TRUE(m);
          EXPECT_EQ(text_of(*m), numbered(length, 'k'));
          break;
        }
        case 3: {
          std::size_t seen = 0;
          while (seen == 0) {
            const auto got = c.consume(
                [&](const MessageView& m) {
                  ++seen;
                  EXPECT_EQ(text_of(m), numbered(length, 'k'));
                },
                kBound);
            ASSERT_EQ(got.status, Status::ok);
          }
          EXPECT_EQ(seen, 1u);
          break;
        }
      }
    }
  }
  EXPECT_EQ(c.receive(100ms).status(), Status::timeout);  // and passes over the last
  (void)group(published, filtered);
  EXPECT_EQ(stats().processed, published);
  EXPECT_EQ(stats().handler_errors, 0u);
}

// What lies behind dropped messages is there, so a call gets it, whatever else it would come to look at.
TEST_P(HandlerMessageTest, WhatLiesBehindDroppedMessagesIsReceivedAtOnce) {
  broker().create("q", options(full("drops.cu", "    if (m.data[0] == std::byte{'d'}) m.drop();")));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  std::uint64_t published = 0;
  for (const bool interrupted : {false, true}) {
    for (const std::size_t length : {20, 300}) {
      for (const char first : std::string("adkdz")) {
        ASSERT_EQ(p.send(numbered(length, first).data(), length, kBound), Status::ok);
      }
      published += 5;
      ASSERT_TRUE(eventually([&] { return stats().processed == published; }));
      if (interrupted) session().interrupt();
      for (const char first : std::string("akz")) {
        const auto m = c.receive(0ms);
        ASSERT_TRUE(m) << first << ": " << to_string(m.status());
        EXPECT_EQ(text_of(*m), numbered(length, first));
      }
      EXPECT_EQ(c.receive(0ms).status(), interrupted ? Status::interrupted : Status::empty);
    }
  }
}

// Of a message that is passed over a death leaves what it leaves of any: another member gets it, and passes it over.
TEST_P(HandlerMessageTest, ConsumersThatDieLeaveNoDroppedMessageBehind) {
  const QueueOptions o = options(full("drops.cu", "    if (m.data[0] == std::byte{'d'}) m.drop();"));
  broker().create("q", o);
  auto p = session().producer("q");
  constexpr std::uint64_t kEach = 600;
  constexpr int kDeaths = 6;
  for (int death = 0; death < kDeaths; ++death) {
    Child reader([this] {
      Session session = connect({.broker = name_});
      auto c = session.consumer("q");
      while (const auto m = c.receive()) {
        if (text_of(*m)[0] != 'k') std::_Exit(1);
      }
    });
    for (std::uint64_t n = 0; n < kEach; ++n) {
      const std::string text = numbered(n % 2 == 0 ? 20 : 300, n % 3 == 0 ? 'k' : 'd');
      ASSERT_EQ(p.send(text.data(), text.size(), kBound), Status::ok);
    }
    ::kill(reader.pid(), SIGKILL);
    EXPECT_EQ(WTERMSIG(reader.reap()), SIGKILL);
  }
  auto c = session().consumer("q");
  while (const auto m = c.receive(500ms)) EXPECT_EQ(text_of(*m)[0], 'k');
  const auto g = [&] { return stats().groups.at(0); };
  EXPECT_TRUE(eventually([&] { return g().held == 0 && g().waiting == 0; }));
  EXPECT_EQ(g().published, kEach * kDeaths);
  EXPECT_EQ(g().lost, 0u);
  EXPECT_EQ(g().delivered + g().filtered, g().published);
  // Who dies after it has released one, and before it has counted it, leaves it among those delivered.
  EXPECT_LE(g().filtered, kEach * kDeaths * 2 / 3);
  EXPECT_GE(g().filtered + kDeaths, kEach * kDeaths * 2 / 3);
  EXPECT_EQ(stats().empty, o.slots);
}

TEST_P(HandlerMessageTest, DropsAndFailsRecordsOfABatch) {
  QueueOptions o = options(full("records.cu",
                                "    if (m.data[0] == std::byte{'d'}) m.drop();\n"
                                "    if (m.data[0] == std::byte{'f'}) m.fail(3);\n"
                                "    if (m.data[0] == std::byte{'n'} && team.rank() == 0)\n"
                                "      m.data[0] = static_cast<std::byte>('0' + m.record);\n"
                                "    if (m.data[0] == std::byte{'r'} && m.resize(m.length - 1)) m.drop();"));
  o.batch = Batch::records;
  broker().create("q", o);
  auto c = session().consumer("q");
  auto p = session().producer("q");
  const auto send = [&](const std::string& firsts) {
    std::vector<std::string> texts;
    for (const char first : firsts) texts.push_back(numbered(90, first));
    std::vector<std::span<const std::byte>> payloads;
    for (const auto& t : texts) payloads.push_back(std::as_bytes(std::span(t)));
    ASSERT_EQ(p.send_many(payloads, kBound).count, payloads.size());
  };
  const std::map<std::string, std::string> cases = {{"dndnd", "13"}, {"nnr", "01r"}, {"ddd", ""},
                                                    {"fdn", "f2"},   {"nd", "0"},    {"ddn", "2"}};
  for (const auto& [sent, expected] : cases) {
    send(sent);
    for (const char first : expected) {
      const auto m = c.receive(kBound);
      ASSERT_TRUE(m) << sent << " " << first;
      EXPECT_EQ(text_of(*m), numbered(90, first)) << sent;
      EXPECT_EQ(m->processed(), first != 'f');
      EXPECT_FALSE(m->failed());  // of a record there is no more
    }
  }
  EXPECT_EQ(c.receive(100ms).status(), Status::timeout);
  (void)group(cases.size(), 0);
}

TEST_P(HandlerMessageTest, AnIndexBeyondTheMessageIsFound) {
  if (kOnGpu) return;  // it traps there: device_fault_test.cpp
  QueueOptions o = options(full("beyond.cu", "    m.elements<std::uint32_t>()[1] = 1;"));
  o.defines = {"IPCQ_CHECK_BOUNDS"};
  broker().create("q", o);
  auto c = session().consumer("q");
  auto p = session().producer("q");
  EXPECT_TRUE(exchange(p, c, "12345678")->processed());
  const auto m = exchange(p, c, "1234567");
  ASSERT_TRUE(m);
  EXPECT_TRUE(m->failed());
  EXPECT_EQ(m->failure(), 0);
}

}  // namespace
}  // namespace ipcq_test
