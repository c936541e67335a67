// What `ipcq list` and `ipcq clean` find of live and dead brokers. The run directory is one of the test's own; records
// and segments are in /dev/shm with those of other brokers of this user, which the test passes over.
#include "broker/broker_list.hpp"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "errors.hpp"
#include "ipcq/error.hpp"
#include "queue/queue_map.hpp"
#include "unit/child.hpp"
#include "unit/environment.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq::detail {
namespace {

namespace fs = std::filesystem;
using ipcq_test::Child;
using ipcq_test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ListOfBrokers : public testing::Test {
 protected:
  ListOfBrokers() { fs::create_directory(at("ipcq")); }
  ~ListOfBrokers() override {
    for (const std::string& tag : {tag_of(socket("a")), tag_of(socket("b")), tag_of(at("elsewhere/s"))}) {
      for (const auto& s : find_segments_of(tag)) unlink_segment(s.name);
    }
  }
  std::string at(const std::string& file) const { return directory_.at(file); }
  // The path of a broker's socket in the run directory.
  std::string socket(const std::string& name) const { return at("ipcq/" + name + ".sock"); }
  // Those of this test.
  std::vector<BrokerEntry> listed() const {
    auto all = list_brokers();
    std::erase_if(all, [this](const BrokerEntry& e) {
      const bool here = e.socket_path.find(directory_.path()) == 0 || e.name.find(directory_.path()) == 0;
      return !here && e.name != tag_of(socket("a"));
    });
    return all;
  }
  std::optional<BrokerEntry> only() const {
    const auto all = listed();
    EXPECT_EQ(all.size(), 1u);
    return all.size() == 1 ? std::optional(all[0]) : std::nullopt;
  }
  static std::unique_ptr<PoolMap> make_pool(const BrokerName& name) {
    return PoolMap::create(name.segment(kPoolKind, "p", 1), "p", {.slots = 1, .size = 64}, nullptr, 1, {});
  }
  // A broker that has died with a socket and a pool.
  static void leave_all(const std::string& name_or_path) {
    Child dead([&] {
      auto* const name = new BrokerName(name_or_path);
      (void)name->listen(0600, -1);
      (void)make_pool(*name).release();
    });
    ASSERT_EQ(dead.exit_code(), 0);
  }
  // A socket of another program's, which listens there.
  Fd listen_at(const std::string& path, int type) const {
    Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd.get(), 4), 0);
    return fd;
  }

  const ipcq_test::TemporaryDirectory directory_;
  const ipcq_test::Environment run_directory_{"XDG_RUNTIME_DIR", directory_.path()};
};

TEST_F(ListOfBrokers, IsEmptyWhereNoneHasBeen) {
  EXPECT_THAT(listed(), IsEmpty());
  fs::remove(at("ipcq"));
  EXPECT_THAT(listed(), IsEmpty());
}

TEST_F(ListOfBrokers, HasLiveOnesByNameWithTheirMemory) {
  BrokerName second("b");
  BrokerName first("a");
  const Fd listener = first.listen(0600, -1);
  const auto pool = make_pool(first);
  const auto all = listed();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].name, "a");
  EXPECT_EQ(all[0].socket_path, socket("a"));
  EXPECT_TRUE(all[0].alive);
  EXPECT_EQ(all[0].pid, ::getpid());
  EXPECT_THAT(all[0].segments, ElementsAre(pool->segment().name()));
  EXPECT_GE(all[0].segment_bytes, 64u);
  EXPECT_EQ(all[1].name, "b");
  EXPECT_TRUE(all[1].alive);
  EXPECT_THAT(all[1].segments, IsEmpty());
}

TEST_F(ListOfBrokers, HasOneOutsideTheRunDirectoryByItsPath) {
  fs::create_directory(at("elsewhere"));
  const BrokerName name(at("elsewhere/s"));
  const auto entry = only();
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->name, at("elsewhere/s"));
  EXPECT_EQ(entry->socket_path, at("elsewhere/s"));
  EXPECT_TRUE(entry->alive);
}

TEST_F(ListOfBrokers, KnowsALiveOneByWhateverIsLeftOfIt) {
  BrokerName name("a");
  const auto pool = make_pool(name);
  fs::remove(socket("a") + BrokerPlace::kLockSuffix);
  auto entry = only();  // by its record
  ASSERT_TRUE(entry);
  EXPECT_TRUE(entry->alive);
  EXPECT_EQ(entry->pid, ::getpid());
  EXPECT_EQ(entry->name, "a");
  for (const auto& s : find_segments_of(tag_of(socket("a")))) {
    if (s.name != pool->segment().name()) unlink_segment(s.name);
  }
  entry = only();  // by the lock of its pool
  ASSERT_TRUE(entry);
  EXPECT_TRUE(entry->alive);
  EXPECT_EQ(entry->pid, ::getpid());
  EXPECT_EQ(entry->name, tag_of(socket("a"))) << "nothing says what its socket is";
  EXPECT_THAT(error_of<UsageError>([&] { remove_leftovers(*entry); }), HasSubstr("is alive"));
}

TEST_F(ListOfBrokers, HasADeadOneUntilItsLeftoversAreRemoved) {
  leave_all("a");
  const auto entry = only();
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->name, "a");
  EXPECT_EQ(entry->socket_path, socket("a"));
  EXPECT_FALSE(entry->alive);
  EXPECT_EQ(entry->pid, 0);
  EXPECT_EQ(entry->segments.size(), 1u);
  remove_leftovers(*entry);
  EXPECT_THAT(listed(), IsEmpty());
  EXPECT_TRUE(fs::is_empty(at("ipcq")));
  EXPECT_THAT(find_segments_of(tag_of(socket("a"))), IsEmpty());
}

TEST_F(ListOfBrokers, HasADeadOneWhoseDirectoryIsGoneByThePathOfItsRecord) {
  fs::create_directory(at("elsewhere"));
  leave_all(at("elsewhere/s"));
  fs::remove_all(at("elsewhere"));
  const auto entry = only();
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->name, at("elsewhere/s"));
  EXPECT_EQ(entry->socket_path, "");
  EXPECT_FALSE(entry->alive);
  EXPECT_EQ(entry->segments.size(), 1u);
  remove_leftovers(*entry);
  EXPECT_THAT(listed(), IsEmpty());
  EXPECT_THAT(find_segments_of(tag_of(at("elsewhere/s"))), IsEmpty());
}

TEST_F(ListOfBrokers, NothingIsRemovedOfALiveOne) {
  BrokerName name("a");
  const Fd listener = name.listen(0600, -1);
  const auto pool = make_pool(name);
  const auto entry = only();
  ASSERT_TRUE(entry);
  EXPECT_THROW(remove_leftovers(*entry), UsageError);
  EXPECT_TRUE(fs::exists(socket("a")));
  EXPECT_EQ(find_segments_of(tag_of(socket("a"))).size(), 2u);  // its record and its pool
}

TEST_F(ListOfBrokers, OtherFilesAreNoBrokers) {
  std::ofstream(socket("a")) << "text";
  std::ofstream(at("ipcq/notes")) << "text";
  const Fd stream = listen_at(socket("b"), SOCK_STREAM);
  EXPECT_THAT(listed(), IsEmpty());
}

// It may be a broker in a container with a /dev/shm of its own.
TEST_F(ListOfBrokers, AProcessThatListensAsABrokerDoesCountsAsOne) {
  const Fd listener = listen_at(socket("a"), SOCK_SEQPACKET);
  const auto entry = only();
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->name, "a");
  EXPECT_TRUE(entry->alive);
  EXPECT_EQ(entry->pid, ::getpid());
}

}  // namespace
}  // namespace ipcq::detail
