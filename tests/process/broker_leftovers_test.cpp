// What is taken for a dead broker's, and what is not: nobody's file is removed for its name alone, and what stands in
// the way of a cleaner is named.
#include <fcntl.h>

#include "process/broker_files.hpp"

namespace ipcq_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class Leftovers : public BrokerFiles {
 protected:
  ~Leftovers() override {
    std::error_code ignored;
    for (const auto& path : made_) fs::remove_all(path, ignored);
  }
  // What a broker at this path left that was killed.
  BrokerEntry left_at(const std::string& path) {
    Child broker(broker_at(path));
    EXPECT_TRUE(broker.is_ready());
    broker.kill();
    const auto entries = entries_of(path);
    EXPECT_THAT(entries, SizeIs(1));
    if (entries.size() != 1) return {};
    EXPECT_FALSE(entries[0].alive);
    EXPECT_THAT(entries[0].segments, SizeIs(2));
    return entries[0];
  }
  static unsigned count(const std::vector<std::string>& segments) {
    return static_cast<unsigned>(
        std::count_if(segments.begin(), segments.end(), [](const auto& s) { return fs::exists("/dev/shm/" + s); }));
  }
  // A file in /dev/shm that goes with the test.
  std::string shared(const std::string& name, const std::string& content) {
    made_.push_back("/dev/shm/" + name);
    write(made_.back(), content);
    return made_.back();
  }
  // What begins the names of everything that a broker has in shared memory.
  static std::string prefix_of(const BrokerEntry& entry) {
    const std::string& name = entry.segments.at(0);
    return name.substr(0, std::min(name.find("+pool+"), name.find("+queue+")));
  }

 private:
  std::vector<std::string> made_;
};

TEST_F(Leftovers, WhatLiesAtTheLockFilesPathIsNamedAsLongAsItDoes) {
  const std::string lock = at("b.sock.ipcq-lock");
  const std::vector<std::pair<std::string, std::function<void()>>> things = {
      {"a regular file", [&] { write(lock, "precious"); }},
      {"a directory", [&] { fs::create_directory(lock); }},
      {"a symbolic link", [&] { fs::create_symlink("/etc/passwd", lock); }}};
  for (const auto& [kind, put] : things) {
    const auto dead = left_at(at("b.sock"));
    fs::remove(lock);
    put();
    for (int n = 0; n < 2; ++n) {
      const auto entries = entries_of(at("b.sock"));
      ASSERT_THAT(entries, SizeIs(1)) << kind;
      EXPECT_FALSE(entries[0].alive);
      EXPECT_THAT(error_of<UsageError>([&] { remove_leftovers(entries[0]); }),
                  AllOf(HasSubstr(lock + " is " + kind), HasSubstr("move it away"), HasSubstr("clean again")));
      EXPECT_EQ(count(dead.segments), 0u) << "its memory need not wait for that";
      EXPECT_THAT(files(), ElementsAre("b.sock", "b.sock.ipcq-lock"));
    }
    if (fs::is_regular_file(fs::symlink_status(lock))) {
      EXPECT_EQ(read(lock), "precious");
    }
    fs::remove(lock);
    remove_leftovers(entries_of(at("b.sock")).at(0));
    EXPECT_THAT(entries_of(at("b.sock")), IsEmpty());
    EXPECT_THAT(files(), IsEmpty());
  }
}

TEST_F(Leftovers, AreRemovedBesideAnotherFileAtTheSocketsPath) {
  const auto dead = left_at(at("b.sock"));
  fs::remove("b.sock");
  write("b.sock", "precious");
  remove_leftovers(dead);
  EXPECT_EQ(count(dead.segments), 0u);
  EXPECT_THAT(files(), ElementsAre("b.sock"));
  EXPECT_EQ(read("b.sock"), "precious");
  EXPECT_THAT(entries_of(at("b.sock")), IsEmpty());
}

TEST_F(RunDirectory, ASocketOfAnotherProgramKeepsNoBrokerAlive) {
  const std::string socket = at("ipcq/b.sock");
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    for (const bool lock_left : {true, false}) {
      Child dead(broker_at("b"));
      ASSERT_TRUE(dead.is_ready());
      dead.kill();
      fs::remove(socket);
      if (!lock_left) fs::remove(socket + kLockSuffix);
      const int fd = bind_socket(socket, type, true);
      const auto entries = entries_of("b");
      ASSERT_THAT(entries, SizeIs(1));
      EXPECT_FALSE(entries[0].alive);
      EXPECT_THAT(entries[0].segments, SizeIs(2));
      remove_leftovers(entries[0]);
      for (const auto& s : entries[0].segments) EXPECT_FALSE(fs::exists("/dev/shm/" + s)) << s;
      EXPECT_TRUE(fs::is_socket(socket));
      EXPECT_FALSE(fs::exists(socket + kLockSuffix));
      const auto after = entries_of("b");
      // Who takes connections of a broker's kind may be one whose lock file was removed.
      ASSERT_THAT(after, SizeIs(type == SOCK_SEQPACKET ? 1 : 0));
      for (const auto& e : after) EXPECT_TRUE(e.alive && e.pid == ::getpid());
      ::close(fd);
      fs::remove(socket);
    }
  }
}

TEST_F(Leftovers, AFileOfThisUserIsNoneForItsName) {
  const std::string user = "ipcq+" + std::to_string(::geteuid()) + "+";
  const std::string made_up = user + "leftovers+0123456789abcdef";
  const std::vector<std::string> names = {
      user + "my+notes+are+here.txt", user + "mynotes",         user + "my+notes+queue+q+1",
      made_up + "+queue+q+1",         made_up + "+pool+q+2",    made_up + "+broker+3",
      made_up + "+queue+q+x",         made_up + "+queue+q+1+2", made_up + "+queue+4"};
  std::vector<std::string> paths;
  for (const auto& name : names) paths.push_back(shared(name, "precious"));
  paths.push_back(shared(made_up + "+queue+pages+5", std::string(4096, 'p')));
  paths.push_back(shared(made_up + "+broker+6", "ipcq-broker 1 2 3 4\n" + at("b.sock")));
  for (const auto& e : list_brokers()) {
    EXPECT_THAT(e.name, AllOf(Not(HasSubstr("my+notes")), Not(HasSubstr("leftovers+0123")))) << e.name;
    EXPECT_NE(e.name, at("b.sock"));
  }
  BrokerEntry entry;
  entry.name = "leftovers+0123456789abcdef";
  remove_leftovers(entry);
  for (const auto& path : paths) EXPECT_TRUE(fs::exists(path)) << path;
}

TEST_F(Leftovers, AFileBesideADeadBrokersIsNone) {
  const auto dead = left_at(at("b.sock"));
  const std::string notes = shared(prefix_of(dead) + "+queue+notes+1", "precious");
  const std::string said = shared(prefix_of(dead) + "+broker+1", "precious");
  EXPECT_THAT(entries_of(at("b.sock")).at(0).segments, SizeIs(2));
  { const Broker successor({.name = at("b.sock")}); }
  EXPECT_EQ(count(dead.segments), 0u);
  EXPECT_EQ(read(notes), "precious");
  EXPECT_EQ(read(said), "precious");
}

// A broker can be killed at any step of a creation, and a client may have written anywhere.
TEST_F(Leftovers, WhatWasNotFinishedAndWhatWasSpoiledIsRemoved) {
  const auto dead = left_at(at("b.sock"));
  std::vector<std::string> paths = {shared(prefix_of(dead) + "+queue+empty+1", ""),
                                    shared(prefix_of(dead) + "+pool+reserved+2", std::string(8192, '\0')),
                                    shared(prefix_of(dead) + "+broker+3", "")};
  {
    std::fstream spoiled("/dev/shm/" + dead.segments[0], std::ios::in | std::ios::out);
    spoiled << std::string(200, 'x');
  }
  const auto entries = entries_of(at("b.sock"));
  ASSERT_THAT(entries, SizeIs(1));
  EXPECT_THAT(entries[0].segments, SizeIs(4));
  remove_leftovers(entries[0]);
  EXPECT_EQ(count(entries[0].segments), 0u);
  for (const auto& path : paths) EXPECT_FALSE(fs::exists(path)) << path;
  EXPECT_THAT(files(), IsEmpty());
}

// Without a record the magic number alone says whose they are.
TEST_F(Leftovers, SegmentsAreKnownWithoutTheRecord) {
  const auto dead = left_at(at("b.sock"));
  for (const auto& record : records_of(at("b.sock"))) fs::remove(record);
  fs::remove("b.sock");
  fs::remove("b.sock.ipcq-lock");
  const std::string tag = prefix_of(dead).substr(("ipcq+" + std::to_string(::geteuid()) + "+").size());
  const auto entries = entries_of(tag);
  ASSERT_THAT(entries, SizeIs(1));
  remove_leftovers(entries[0]);
  EXPECT_EQ(count(dead.segments), 0u);
}

}  // namespace
}  // namespace ipcq_test
