// Batches whose index was damaged between publish and receipt: what is shown lies within the message, and the batch
// counts as lost. That records arrive as they were sent: conformance/records_test.cpp; single words of an index:
// unit/records_test.cpp.
#include "client/record_reader.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/crash_point.hpp"
#include "eventually.hpp"
#include "ipcq/ipcq.hpp"
#include "queue_stats.hpp"
#include "stamped.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;

class DamagedBatch : public testing::Test {
 protected:
  static constexpr std::size_t kRecords = 4;
  static constexpr std::size_t kIndexAt = 16 + kRecords * 32;  // records of kStampBytes, at multiples of 16

  DamagedBatch()
      : broker_({.name = "record-reader-" + std::to_string(getpid())}),
        session_(connect({.broker = broker_.stats().name})) {
    broker_.create("q", {.slots = 1, .size = 512, .lines = 8, .batch = Batch::records});
    producer_ = session_.producer("q");
    consumer_ = session_.consumer("q");
    auto loan = producer_.loan(kBound);
    slot_ = loan->bytes().data();  // the only one
  }
  ~DamagedBatch() override { detail::set_crash_point_hook(nullptr); }

  // Sends a batch, of which `change` changes the bytes before it is published.
  void send(void (*change)(std::byte* batch)) {
    change_ = change;
    batch_ = slot_;
    detail::set_crash_point_hook([](const char* step) {
      if (std::string_view(step) == "publish.slot_marked") change_(batch_);
    });
    std::vector<std::vector<std::byte>> all;
    for (std::size_t i = 0; i < kRecords; ++i) all.push_back(stamped(1, i));
    EXPECT_EQ(producer_.send_many(all, kBound).count, kRecords);
    detail::set_crash_point_hook(nullptr);
  }
  static void put(std::byte* batch, std::size_t at, std::uint32_t word) { std::memcpy(batch + at, &word, sizeof word); }

  // How many records come, each within the slot, before nothing is left.
  std::size_t shown() {
    std::size_t count = 0;
    for (;;) {
      auto m = consumer_.receive(Duration::zero());
      if (!m) {
        EXPECT_EQ(m.status(), Status::empty);
        return count;
      }
      ++count;
      EXPECT_GE(m->bytes().data(), slot_);
      EXPECT_LE(m->bytes().data() + m->length(), slot_ + 512);
    }
  }
  QueueStats stats() { return queue_of(broker_.stats(), "q"); }

  Broker broker_;
  Session session_;
  Producer producer_;
  Consumer consumer_;
  std::byte* slot_ = nullptr;
  static inline void (*change_)(std::byte*) = nullptr;
  static inline std::byte* batch_ = nullptr;
};

TEST_F(DamagedBatch, WithADamagedHeadIsLostAsAWhole) {
  const std::vector<void (*)(std::byte*)> damages = {
      [](std::byte* b) { put(b, 0, 0); },              // no records
      [](std::byte* b) { put(b, 0, kRecords + 1); },   // more than the index has words
      [](std::byte* b) { put(b, 0, 0xffffffff); },     //
      [](std::byte* b) { put(b, 4, 0); },              // an index within the head
      [](std::byte* b) { put(b, 4, kIndexAt + 8); },   // not at a multiple of 16
      [](std::byte* b) { put(b, 4, 0xfffffff0); },     // beyond the message
      [](std::byte* b) { put(b, 4, kIndexAt - 16); },  // longer than the records are many
  };
  std::uint64_t lost = 0;
  for (const auto damage : damages) {
    send(damage);
    EXPECT_EQ(shown(), 0u) << lost;
    EXPECT_EQ(group_of(stats(), "default").lost, ++lost);
    EXPECT_EQ(stats().empty, 1u) << lost;
  }
}

TEST_F(DamagedBatch, EndsAtARecordThatMakesNoSense) {
  struct Damage {
    void (*change)(std::byte*);
    std::size_t shown;
  };
  const std::vector<Damage> damages = {
      {[](std::byte* b) { put(b, kIndexAt, 0); }, 0},               // ends before it begins
      {[](std::byte* b) { put(b, kIndexAt, kIndexAt + 1); }, 0},    // ends in the index
      {[](std::byte* b) { put(b, kIndexAt + 4, 20); }, 1},          // before the one before
      {[](std::byte* b) { put(b, kIndexAt + 8, 0x7fffffff); }, 2},  // beyond the message
      {[](std::byte* b) { put(b, kIndexAt + 12, 0x7ffffff1); }, 3},
  };
  std::uint64_t lost = 0;
  for (const auto& damage : damages) {
    send(damage.change);
    EXPECT_EQ(shown(), damage.shown) << lost;
    EXPECT_EQ(group_of(stats(), "default").lost, ++lost);
    EXPECT_EQ(stats().empty, 1u) << lost;
  }
}

TEST_F(DamagedBatch, IsShownToACallbackAsFarAsItGoes) {
  send([](std::byte* b) { put(b, kIndexAt + 8, 0); });
  std::size_t seen = 0;
  EXPECT_EQ(consumer_.consume([&](const MessageView&) { ++seen; }, Duration::zero()).count, 2u);
  EXPECT_EQ(seen, 2u);
  EXPECT_EQ(stats().empty, 1u);
  EXPECT_EQ(group_of(stats(), "default").lost, 1u);
}

TEST_F(DamagedBatch, IsLostOnceHoweverOftenItWasGivenBack) {
  send([](std::byte* b) { put(b, kIndexAt + 8, 0); });
  for (int i = 0; i < 3; ++i) EXPECT_EQ(consumer_.receive(kBound)->nack(), Status::ok);
  EXPECT_EQ(group_of(stats(), "default").lost, 0u);
  EXPECT_EQ(shown(), 2u);
  EXPECT_EQ(group_of(stats(), "default").lost, 1u);
  EXPECT_EQ(group_of(stats(), "default").delivered, 0u);
}

TEST_F(DamagedBatch, ItsDamageDoesNotOutlastTheCall) {
  send([](std::byte* b) { put(b, kIndexAt, 0); });
  EXPECT_EQ(consumer_.consume([](const MessageView&) {}, Duration::zero()).status, Status::empty);
  EXPECT_EQ(stats().empty, 1u);
}

class SharedBatch : public DamagedBatch {
 protected:
  SharedBatch() {
    send([](std::byte*) {});
    other_ = session_.consumer("q");
  }
  std::size_t left_to_the_other() {
    std::size_t count = 0;
    while (other_.receive(Duration::zero())) ++count;
    return count;
  }
  Consumer other_;
};

TEST_F(SharedBatch, IsTheGroupsAsSoonAsItWasGivenBack) {
  EXPECT_EQ(consumer_.receive(kBound)->nack(), Status::ok);
  EXPECT_EQ(left_to_the_other(), kRecords);
  EXPECT_EQ(consumer_.receive(Duration::zero()).status(), Status::empty);
}

TEST_F(SharedBatch, IsTheGroupsOnceWhatIsHeldOfItHasEnded) {
  auto first = consumer_.receive(kBound);
  EXPECT_EQ(consumer_.receive(kBound)->nack(), Status::ok);
  EXPECT_EQ(left_to_the_other(), 0u);
  std::thread([m = std::move(*first)]() mutable { EXPECT_EQ(m.release(), Status::ok); }).join();
  EXPECT_EQ(left_to_the_other(), kRecords);
}

TEST_F(SharedBatch, IsTheGroupsIfItsFirstRecordDoesNotFit) {
  std::byte buffer[8];
  EXPECT_EQ(consumer_.receive_into(buffer, kBound).status(), Status::too_large);
  auto m = other_.receive(Duration::zero());
  ASSERT_TRUE(m);
  EXPECT_EQ(m->redeliveries(), 0u);
  EXPECT_EQ(stats().groups[0].records, kRecords);
}

// The callback has record 1, while another thread gives record 0 back.
TEST_F(SharedBatch, StaysWhileACallbackSeesARecord) {
  auto first = consumer_.receive(kBound);
  const auto see = [&](const MessageView& m) {
    EXPECT_EQ(m.record(), 1u);
    std::thread([&] { EXPECT_EQ(first->nack(), Status::ok); }).join();
    EXPECT_EQ(left_to_the_other(), 0u);
    EXPECT_TRUE(read_stamp(m.bytes()));
  };
  EXPECT_EQ(consumer_.consume(see, kBound, 1).count, 1u);
  EXPECT_EQ(left_to_the_other(), kRecords);
}

TEST_F(SharedBatch, ABatchOfMessagesKeepsWhatIsNotReplaced) {
  std::vector<Message> held(3);
  ASSERT_EQ(consumer_.receive_many(held, kBound).count, 3u);
  (void)consumer_.receive(kBound);
  EXPECT_EQ(consumer_.receive_many(held, Duration::zero()).status, Status::empty);
  for (const Message& m : held) EXPECT_TRUE(m);
}

TEST_F(DamagedBatch, MoreOpenBatchesThanMayBeHeldAreRefused) {
  broker_.create("few", {.slots = 4, .size = 512, .lines = 8, .batch = Batch::records, .held = 1});
  auto p = session_.producer("few");
  auto c = session_.consumer("few");
  const std::vector<std::vector<std::byte>> two = {stamped(1, 0), stamped(1, 1)};
  for (int i = 0; i < 2; ++i) ASSERT_EQ(p.send_many(two, kBound).count, 2u);
  std::vector<Message> all(4);
  EXPECT_EQ(c.receive_many(all, Duration::zero()).count, 2u);
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::full);
  all.clear();
  EXPECT_TRUE(c.receive(kBound));
}

}  // namespace
}  // namespace ipcq_test
