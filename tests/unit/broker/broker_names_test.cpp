// A name that a broker takes in the system, and what it finds there. As processes: process/broker_life_test.cpp and
// process/broker_leftovers_test.cpp.
#include "broker/broker_names.hpp"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "control/control.hpp"
#include "errors.hpp"
#include "queue/queue_map.hpp"
#include "unit/child.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq::detail {
namespace {

namespace fs = std::filesystem;
using ipcq_test::Child;
using ipcq_test::error_of;
using testing::AllOf;
using testing::HasSubstr;
using Kind = Listener::Kind;

class NameOfABroker : public testing::Test {
 protected:
  ~NameOfABroker() override {
    for (const auto& s : find_segments_of(place_.tag())) unlink_segment(s.name);
  }
  std::string path() const { return place_.socket_path(); }
  std::string refusal() const {
    return error_of<UsageError>([&] { const BrokerName name(path()); });
  }
  std::vector<SegmentName> segments() const { return find_segments_of(place_.tag()); }
  // A socket of another program's.
  Fd bind(int type, bool listening) const {
    Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path().c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    if (listening) {
      EXPECT_EQ(::listen(fd.get(), 4), 0);
    }
    return fd;
  }
  // A broker that has died with a socket and a pool.
  void leave_all() const {
    Child dead([&] {
      auto* const name = new BrokerName(path());
      (void)name->listen(0600, -1);
      (void)PoolMap::create(name->segment(kPoolKind, "p", 1), "p", {.slots = 1, .size = 64}, nullptr, 1, {}).release();
    });
    ASSERT_EQ(dead.exit_code(), 0);
  }

  const ipcq_test::TemporaryDirectory directory_;
  const BrokerPlace place_{directory_.at("s"), BrokerPlace::Use::serve};
};

TEST_F(NameOfABroker, HasLockRecordAndSocketUntilItIsGivenUp) {
  BrokerName name(path());
  EXPECT_EQ(name.name(), path());
  EXPECT_EQ(name.socket_path(), path());
  EXPECT_EQ(name.leftovers(), "");
  EXPECT_TRUE(read_lock_state(place_).held);
  EXPECT_EQ(read_lock_state(place_).pid, ::getpid());
  EXPECT_EQ(segments().size(), 1u);  // the record
  EXPECT_EQ(listener_at(place_).kind, Kind::nobody);
  const Fd listener = name.listen(0640, -1);
  EXPECT_EQ(fs::status(path()).permissions(), fs::perms(0640));
  EXPECT_EQ(listener_at(place_).kind, Kind::somebody);
  EXPECT_EQ(listener_at(place_).pid, ::getpid());
  name.release();
  EXPECT_TRUE(fs::is_empty(directory_.path()));
  EXPECT_TRUE(segments().empty());
  name.release();
}

TEST_F(NameOfABroker, IsNotTakenFromALiveOne) {
  BrokerName name(path());
  const Fd listener = name.listen(0600, -1);
  EXPECT_THAT(refusal(), HasSubstr("a live broker has this name"));
  fs::remove(place_.lock_path());  // its record proves its life all the same
  EXPECT_THAT(refusal(), AllOf(HasSubstr("pid " + std::to_string(::getpid())), HasSubstr("was removed")));
  EXPECT_FALSE(fs::exists(place_.lock_path()));
  for (const auto& s : segments()) unlink_segment(s.name);  // and without that, who listens
  EXPECT_THAT(refusal(), HasSubstr("somebody listens at"));
  EXPECT_TRUE(fs::exists(path()));
}

TEST_F(NameOfABroker, ASegmentWithALiveOwnerKeepsItWithoutARecord) {
  auto name = std::make_unique<BrokerName>(path());
  const std::string pool = name->segment(kPoolKind, "p", 0xab);
  EXPECT_EQ(pool, user_prefix() + place_.tag() + "+pool+p+ab");
  ASSERT_TRUE(parts_of(pool));
  const auto map = PoolMap::create(pool, "p", {.slots = 1, .size = 64}, nullptr, 1, {});
  name.reset();
  EXPECT_THAT(refusal(), AllOf(HasSubstr("segment " + pool), HasSubstr("has a live owner")));
}

TEST_F(NameOfABroker, WhatADeadOneLeftIsReplacedAndTold) {
  leave_all();
  EXPECT_EQ(segments().size(), 2u);
  const BrokerName name(path());
  EXPECT_THAT(name.leftovers(), AllOf(HasSubstr("1 segments ("), HasSubstr("and its socket")));
  EXPECT_EQ(segments().size(), 1u);
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(NameOfABroker, AFileThatIsOnlyCalledSoStays) {
  const std::string prefix = user_prefix() + place_.tag();
  std::ofstream("/dev/shm/" + prefix + "+pool+mine+1") << "text";
  std::ofstream("/dev/shm/" + prefix + "+other") << "text";
  { const BrokerName name(path()); }
  EXPECT_EQ(segments().size(), 2u);
}

TEST_F(NameOfABroker, OnlyAFinishedRecordedOrEmptySegmentIsABrokers) {
  const std::string prefix = user_prefix() + place_.tag();
  const std::string pool = prefix + "+pool+p+1";
  FoundRecord record;
  record.tag = place_.tag();
  record.socket_path = path();
  const auto count = [&](SegmentName s, const std::vector<FoundRecord>& records) {
    return only_brokers({std::move(s)}, records).size();
  };
  EXPECT_EQ(count({.name = pool, .bytes = 8192, .magic = kPoolMagic}, {}), 1u);
  EXPECT_EQ(count({.name = pool, .bytes = 8192, .magic = kQueueMagic}, {}), 0u);
  EXPECT_EQ(count({.name = prefix + "+queue+q+1", .bytes = 8192, .magic = kQueueMagic}, {}), 1u);
  EXPECT_EQ(count({.name = pool, .bytes = 0, .magic = 0}, {}), 1u);
  EXPECT_EQ(count({.name = pool, .bytes = 8192, .magic = 7}, {}), 0u);
  EXPECT_EQ(count({.name = pool, .bytes = 8192, .magic = 7}, {record}), 1u);  // a client may have spoiled it
  EXPECT_EQ(count({.name = pool, .bytes = 8191, .magic = 7}, {record}), 0u);
  EXPECT_EQ(count({.name = pool, .bytes = 8192}, {record}), 0u);  // which cannot be read
  EXPECT_EQ(count({.name = prefix + "+broker+1", .bytes = 0, .magic = 0}, {record}), 0u);
  record.socket_path.clear();
  EXPECT_EQ(count({.name = pool, .bytes = 8192, .magic = 7}, {record}), 0u);
}

TEST_F(NameOfABroker, WhatLiesAtItsSocketIsToldApart) {
  EXPECT_EQ(listener_at(place_).kind, Kind::nobody);
  std::ofstream(path()) << "text";
  EXPECT_THAT(refusal(), AllOf(HasSubstr("is a regular file"), HasSubstr("nothing was changed")));
  EXPECT_FALSE(fs::exists(place_.lock_path()));
  fs::remove(path());
  {
    const Fd other = bind(SOCK_STREAM, true);
    EXPECT_EQ(listener_at(place_).kind, Kind::no_broker);
    EXPECT_THAT(refusal(), HasSubstr("somebody listens at"));
  }
  EXPECT_EQ(listener_at(place_).kind, Kind::nobody);
  EXPECT_THAT(refusal(), HasSubstr("is a socket that nobody serves"));  // and that no broker is known to have left
  EXPECT_TRUE(fs::exists(path()));
}

TEST_F(NameOfABroker, ItsEndLeavesWhatAnotherPutThere) {
  BrokerName name(path());
  const Fd listener = name.listen(0600, -1);
  fs::rename(path(), directory_.at("before"));
  const Fd successor = bind(SOCK_SEQPACKET, true);
  name.release();
  EXPECT_TRUE(fs::exists(path()));
  EXPECT_FALSE(fs::exists(place_.lock_path()));
}

TEST_F(NameOfABroker, AForkedChildsCopyGivesNothingUp) {
  auto name = std::make_unique<BrokerName>(path());
  const Fd listener = name->listen(0600, -1);
  Child child([&] { name.reset(); });
  EXPECT_EQ(child.exit_code(), 0);
  EXPECT_TRUE(fs::exists(path()));
  EXPECT_TRUE(read_lock_state(place_).held);
  EXPECT_EQ(segments().size(), 1u);
}

TEST_F(NameOfABroker, AGroupReachesItsSocketThroughTheDirectory) {
  const gid_t gid = place_.directory_status().st_gid;
  const std::pair<unsigned, std::pair<bool, bool>> modes[] = {
      {0700, {false, false}}, {0710, {true, false}}, {0701, {false, true}}, {0711, {true, true}}};
  for (const auto& [mode, reach] : modes) {
    fs::permissions(directory_.path(), fs::perms(mode));
    const BrokerName name(path());
    EXPECT_EQ(name.is_reachable_by(gid), reach.first) << mode;
    EXPECT_EQ(name.is_reachable_by(gid + 1), reach.second) << mode;
  }
}

}  // namespace
}  // namespace ipcq::detail
