// What a broker says of itself in shared memory.
#include "broker/broker_record.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "unit/child.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq::detail {
namespace {

namespace fs = std::filesystem;
using ipcq_test::Child;

class RecordOfABroker : public testing::Test {
 protected:
  ~RecordOfABroker() override {
    for (const auto& made : made_) fs::remove(made);
    for (const auto& r : records()) remove_dead(r);
  }
  // Those of this test's place.
  std::vector<FoundRecord> records() const {
    auto found = find_records();
    std::erase_if(found, [&](const auto& r) { return r.tag != place_.tag(); });
    return found;
  }
  // A file with the name of a record.
  void write(const std::string& text) {
    made_.push_back("/dev/shm/" + user_prefix() + place_.tag() + "+broker+" + std::to_string(made_.size()));
    std::ofstream(made_.back()) << text;
  }

  const ipcq_test::TemporaryDirectory directory_;
  const BrokerPlace place_{directory_.at("s"), BrokerPlace::Use::serve};
  std::vector<std::string> made_;
};

TEST_F(RecordOfABroker, SaysWhereItIsWhileItLives) {
  {
    const BrokerRecord record(place_);
    const auto found = records();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_TRUE(found[0].alive);
    EXPECT_EQ(found[0].pid, ::getpid());
    EXPECT_EQ(found[0].socket_path, directory_.at("s"));
    EXPECT_EQ(found[0].device, place_.directory_status().st_dev);
    EXPECT_EQ(found[0].inode, place_.directory_status().st_ino);
    EXPECT_NE(found[0].mounts, 0u);
    EXPECT_TRUE(is_at(found[0], place_));
    remove_dead(found[0]);
    EXPECT_EQ(records().size(), 1u);  // it lives
  }
  EXPECT_TRUE(records().empty());
}

TEST_F(RecordOfABroker, ThatADeadOneLeftIsFoundAndRemoved) {
  Child dead([&] { new BrokerRecord(place_); });
  EXPECT_EQ(dead.exit_code(), 0);
  const auto found = records();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_FALSE(found[0].alive);
  EXPECT_EQ(found[0].pid, dead.pid());
  remove_dead(found[0]);
  EXPECT_TRUE(records().empty());
  remove_dead(found[0]);  // says nothing
}

TEST_F(RecordOfABroker, OfTwoAtOnePlaceEachIsItsOwn) {
  auto first = std::make_unique<BrokerRecord>(place_);
  const BrokerRecord second(place_);
  EXPECT_EQ(records().size(), 2u);
  first.reset();
  ASSERT_EQ(records().size(), 1u);
  EXPECT_TRUE(records()[0].alive);
}

TEST_F(RecordOfABroker, AForkedChildsCopyRemovesNothing) {
  auto record = std::make_unique<BrokerRecord>(place_);
  Child child([&] { record.reset(); });
  EXPECT_EQ(child.exit_code(), 0);
  ASSERT_EQ(records().size(), 1u);
  EXPECT_TRUE(records()[0].alive);
}

TEST_F(RecordOfABroker, AFileThatNoBrokerWroteIsNone) {
  const std::string path = place_.socket_path();
  for (const std::string& text :
       std::initializer_list<std::string>{"text", "ipcq-broker 1 2 3 4", "ipcq-broker 1 2 3\n" + path,
                                          "other 1 2 3 4\n" + path, "ipcq-broker 1 2 3 4\n" + path + "x"}) {
    write(text);
    EXPECT_TRUE(records().empty()) << text;
  }
  write("ipcq-broker 1 2 3 4\n" + path);
  ASSERT_EQ(records().size(), 1u);
  EXPECT_FALSE(records()[0].alive);
  EXPECT_EQ(records()[0].mounts, 4u);
  write("");  // its maker had not come to write it
  EXPECT_EQ(records().size(), 2u);
}

TEST_F(RecordOfABroker, IsOfAPlaceByItsDirectoryOrElseByItsPath) {
  const BrokerRecord record(place_);
  const FoundRecord found = records().at(0);
  const BrokerPlace other(directory_.at("t"), BrokerPlace::Use::serve);
  EXPECT_FALSE(is_at(found, other));  // of the same directory
  FoundRecord elsewhere = found;
  elsewhere.inode += 1;
  EXPECT_TRUE(is_at(elsewhere, place_));  // the directory was made anew
  elsewhere.mounts += 1;
  EXPECT_FALSE(is_at(elsewhere, place_));  // another container's
  elsewhere.mounts = 0;
  EXPECT_FALSE(is_at(elsewhere, place_));
  FoundRecord moved = found;
  moved.socket_path = "/before/s";
  EXPECT_TRUE(is_at(moved, place_));
}

}  // namespace
}  // namespace ipcq::detail
