// Calls that a handler of one's own answers, and that its runner's death ends.
#include "own_handlers/on_backend.hpp"

#include <cstdlib>
#include <optional>
#include <random>
#include <thread>

namespace ipcq_test {
namespace {

class OwnCallsTest : public ByEachExecutor {
 protected:
  void create(const std::string& file) {
    QueueOptions o = options(file);
    o.calls = 8;
    broker().create("q", o);
  }
  static std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  static Call ask(Client& client, const std::string& text) {
    auto call = client.request(text, kBound);
    EXPECT_EQ(call.status(), Status::ok);
    return std::move(*call);
  }
};
INSTANTIATE_TEST_SUITE_P(Executors, OwnCallsTest, testing::ValuesIn(ByEachExecutor::all()), ByEachExecutor::name_of);

TEST_P(OwnCallsTest, ItSaysWhatItsCallerIsTold) {
  create(full(
      "tells.cu",
      "    const std::byte first = m.data[0];\n"
      "    if (first == std::byte{'f'}) m.fail(7);\n"
      "    if (first == std::byte{'d'}) m.drop();\n"
      "    if (first != std::byte{'g'}) return;\n"
      "    const std::uint64_t before = m.length;\n"
      "    if (!m.resize(m.capacity)) return;\n"
      "    for (std::uint64_t i = before + team.rank(); i < m.length; i += team.size()) m.data[i] = std::byte{'+'};"));
  auto client = session().client("q", {.reply_bytes = 8192});
  Call fails = ask(client, "fails"), is_dropped = ask(client, "dropped"), grows = ask(client, "grows"),
       stays = ask(client, "stays");
  const auto reply = grows.receive(kBound);
  ASSERT_EQ(reply.status(), Status::ok);
  EXPECT_EQ(text_of(reply->bytes()), "grows" + std::string(8192 - 5, '+'));
  EXPECT_EQ(text_of(stays.receive(kBound)->bytes()), "stays");
  EXPECT_EQ(is_dropped.receive(kBound).status(), Status::end);
  EXPECT_EQ(fails.receive(kBound).status(), Status::failed);
  EXPECT_EQ(fails.failure_code(), 7u);
}

// IPCQ_CALL_KILLS=200 kills as many. On the host the queue lives on, and what was in work has failed; on a GPU it is
// created anew, and its clients are told.
TEST_P(OwnCallsTest, ARunnersDeathLeavesNoCallHanging) {
  const char* const text = std::getenv("IPCQ_CALL_KILLS");
  const int kills = text != nullptr ? std::atoi(text) : 3;
  create(next_byte());
  std::atomic<bool> stop{false};
  std::atomic<unsigned> answered{0};
  std::thread caller([&] {
    std::optional<Client> client;
    while (!stop) {
      if (!client) client = session().client("q", {.wait_for = kBound});
      auto call = client->request("abc", kBound);
      Status s = call.status();
      if (call) {
        const auto reply = call->receive(kBound);
        s = reply.status();
        EXPECT_TRUE(!reply || text_of(reply->bytes()) == "bcd");
      }
      answered += s == Status::ok ? 1 : 0;
      EXPECT_TRUE(s == Status::ok || s == Status::failed || s == Status::closed) << to_string(s);
      call = Status::empty;
      if (s == Status::closed) client.reset();
      if (s != Status::ok && s != Status::failed && s != Status::closed) return;
    }
  });
  std::mt19937 random(3);
  const auto answers_again = [&] {
    const unsigned before = answered;
    return eventually([&] { return answered > before + 1; });
  };
  bool answers = answers_again();
  for (int i = 0; i < kills && answers; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 5000));
    kill_runner();
    answers = answers_again();
  }
  EXPECT_TRUE(answers);
  stop = true;
  caller.join();
  EXPECT_EQ(broker().stats().runner_deaths, static_cast<std::uint64_t>(kills));
}

}  // namespace
}  // namespace ipcq_test
