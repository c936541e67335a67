// A path as a broker's name: what lies there and is not a broker's stays as it is, and a place is one however it is
// spelled.
#include <spawn.h>

#include <utility>

#include "process/broker_files.hpp"
#include "spawn.hpp"

namespace ipcq_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class BrokerPath : public BrokerFiles {};

TEST_F(BrokerPath, AFileThereStaysAsItIs) {
  write("notes.txt", "precious");
  for (const auto& path : {at("notes.txt"), std::string("./notes.txt")}) {
    EXPECT_THAT(refusal(path), AllOf(HasSubstr(at("notes.txt")), HasSubstr("a regular file"), HasSubstr("--name")));
  }
  EXPECT_EQ(read("notes.txt"), "precious");
  EXPECT_THAT(files(), ElementsAre("notes.txt"));
}

TEST_F(BrokerPath, ALockFileOfAnotherProgramStaysAsItIs) {
  write("Cargo.lock", "version = 3");
  {
    Broker broker({.name = "./Cargo"});
    broker.create("q", {.slots = 1});
  }
  EXPECT_EQ(read("Cargo.lock"), "version = 3");
  EXPECT_THAT(files(), ElementsAre("Cargo.lock"));

  // Nor do a number and the beginning of a mark make a file a broker's.
  for (const std::string text :
       {"precious\n", "1234\n", "ipcq-broker 12", "ipcq-broker 12\nprecious\n", "ipcq-broker \n"}) {
    write("b.sock.ipcq-lock", text);
    EXPECT_THAT(refusal("./b.sock"), AllOf(HasSubstr(at("b.sock.ipcq-lock")), HasSubstr("another content")));
    EXPECT_EQ(read("b.sock.ipcq-lock"), text);
    EXPECT_THAT(files(), ElementsAre("Cargo.lock", "b.sock.ipcq-lock"));
  }
}

TEST_F(BrokerPath, WhatIsNoFileStaysAsItIs) {
  write("target", "precious");
  fs::create_symlink("target", "link");
  fs::create_symlink("nowhere", "dangling");
  fs::create_directory("directory");
  ASSERT_EQ(::mkfifo("fifo", 0600), 0);
  const std::vector<std::pair<std::string, std::string>> things = {
      {"link", "a symbolic link"}, {"dangling", "a symbolic link"}, {"directory", "a directory"}, {"fifo", "a fifo"}};
  const auto before = files();
  for (const auto& [file, kind] : things) {
    EXPECT_THAT(refusal("./" + file), AllOf(HasSubstr(at(file)), HasSubstr(kind)));
    EXPECT_EQ(files(), before) << file;
    // The same in the place of the lock file.
    fs::rename(file, "b.sock.ipcq-lock");
    EXPECT_THAT(refusal("./b.sock"), AllOf(HasSubstr(at("b.sock.ipcq-lock")), HasSubstr(kind)));
    fs::rename("b.sock.ipcq-lock", file);
    EXPECT_EQ(files(), before) << file;
  }
  EXPECT_EQ(read("target"), "precious");
}

TEST_F(BrokerPath, ASocketOfAnotherProgramStaysAsItIs) {
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM}) {
    const int fd = bind_socket("b.sock", type, type != SOCK_DGRAM);
    struct stat before {};
    ASSERT_EQ(::stat("b.sock", &before), 0);
    const auto is_untouched = [&] {
      struct stat after {};
      return ::stat("b.sock", &after) == 0 && after.st_ino == before.st_ino &&
             files() == std::vector<std::string>{"b.sock"};
    };
    EXPECT_THAT(refusal("./b.sock"), AllOf(HasSubstr(at("b.sock")), HasSubstr("somebody listens")));
    EXPECT_TRUE(is_untouched()) << type;
    ::close(fd);
    // Nobody serves it any more, and still no broker has left it.
    for (int n = 0; n < 2; ++n) {  // a refusal leaves nothing that would speak for the next
      EXPECT_THAT(refusal("./b.sock"), AllOf(HasSubstr(at("b.sock")), HasSubstr("remove it")));
      EXPECT_TRUE(is_untouched()) << type;
    }
    fs::remove("b.sock");
  }
}

TEST_F(BrokerPath, WhatADeadBrokerLeftIsReplaced) {
  for (const bool queue : {true, false}) {
    Child dead(broker_at("./b.sock", queue));
    ASSERT_TRUE(dead.is_ready());
    dead.kill();
    EXPECT_THAT(files(), ElementsAre("b.sock", "b.sock.ipcq-lock"));
    std::vector<std::string> logged;
    {
      Broker successor(
          {.name = at("b.sock"), .log = [&](LogLevel, std::string_view text) { logged.emplace_back(text); }});
      EXPECT_EQ(fetch_stats("./b.sock").pid, ::getpid());
    }  // its end delivers the log
    EXPECT_THAT(logged, ElementsAre(HasSubstr(queue ? "2 segments" : "0 segments")));
    EXPECT_THAT(files(), IsEmpty());
  }
}

// Either alone says that the socket was a broker's.
TEST_F(BrokerPath, ADeadSocketIsKnownByItsLockFileOrItsRecord) {
  for (const bool lock_removed : {true, false}) {
    Child dead(broker_at(at("b.sock"), false));
    ASSERT_TRUE(dead.is_ready());
    dead.kill();
    if (lock_removed) {
      fs::remove("b.sock.ipcq-lock");
    } else {  // as a new start of the machine does
      for (const auto& record : records_of(at("b.sock"))) fs::remove(record);
    }
    const Broker successor({.name = "./b.sock"});
  }
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(BrokerPath, APlaceIsOneHoweverItIsSpelled) {
  fs::create_directory("d");
  fs::create_directory_symlink("d", "l");
  Child first(broker_at("d/b.sock"));
  ASSERT_TRUE(first.is_ready());
  for (const auto& spelling : {std::string("./d/b.sock"), std::string("d/../d/b.sock"), std::string("l/b.sock"),
                               std::string("d//b.sock"), at("d/b.sock")}) {
    EXPECT_THAT(refusal(spelling), AllOf(HasSubstr("live broker"), HasSubstr(std::to_string(first.pid())))) << spelling;
    EXPECT_EQ(fetch_stats(spelling).name, at("d/b.sock"));
  }
  const auto entries = entries_of(at("d/b.sock"));
  ASSERT_THAT(entries, SizeIs(1));
  EXPECT_EQ(entries[0].name, at("d/b.sock"));
  EXPECT_TRUE(entries[0].alive);
  EXPECT_EQ(entries[0].pid, first.pid());
  EXPECT_THAT(entries[0].segments, SizeIs(2));
  EXPECT_THAT(error_of<UsageError>([&] { remove_leftovers(entries[0]); }), HasSubstr("live broker"));

  first.kill();
  const auto dead = entries_of(at("d/b.sock"));
  ASSERT_THAT(dead, SizeIs(1));
  EXPECT_FALSE(dead[0].alive);
  remove_leftovers(dead[0]);
  EXPECT_TRUE(fs::is_empty("d"));
  EXPECT_THAT(entries_of(at("d/b.sock")), IsEmpty());
  for (const auto& s : entries[0].segments) EXPECT_FALSE(fs::exists("/dev/shm/" + s)) << s;
}

TEST_F(BrokerPath, InTheRunDirectoryItIsTheBrokerOfThatName) {
  const std::string name = "place-" + std::to_string(::getpid());
  const Broker broker({.name = name});
  EXPECT_EQ(broker.socket_path(), fs::canonical(run_directory()).string() + "/" + name + ".sock");
  EXPECT_THAT(refusal(run_directory() + "/" + name + ".sock"),
              AllOf(HasSubstr("'" + name + "'"), HasSubstr("live broker")));
  EXPECT_THAT(entries_of(name), SizeIs(1));
}

// Two brokers of one name, in the run directories of two containers or sessions, are two.
TEST_F(BrokerPath, OfOneFileNameInTwoDirectoriesThereAreTwo) {
  fs::create_directory("a");
  fs::create_directory("b");
  Child first(broker_at("a/x.sock"));
  Child second(broker_at("b/x.sock"));
  ASSERT_TRUE(first.is_ready() && second.is_ready());
  first.kill();
  ASSERT_THAT(entries_of(at("a/x.sock")), SizeIs(1));
  EXPECT_FALSE(entries_of(at("a/x.sock"))[0].alive);
  EXPECT_TRUE(entries_of(at("b/x.sock"))[0].alive);
  remove_leftovers(entries_of(at("a/x.sock"))[0]);
  EXPECT_THAT(entries_of(at("b/x.sock"))[0].segments, SizeIs(2));
}

// Where only the relative path fits into an address.
TEST_F(BrokerPath, ADeepDirectoryTakesARelativePath) {
  const std::string deep = std::string(60, 'd') + "/" + std::string(60, 'e');
  fs::create_directories(deep);
  fs::current_path(deep);
  EXPECT_THAT(refusal(at(deep) + "/b.sock"), AllOf(HasSubstr("107 are possible"), HasSubstr("shorter")));
  {
    const Broker broker({.name = "./b.sock"});
    EXPECT_EQ(broker.socket_path(), "./b.sock");
    EXPECT_EQ(fetch_stats("./b.sock").pid, ::getpid());
    fs::current_path(directory_);  // it removes its own file all the same
  }
  EXPECT_TRUE(fs::is_empty(deep));
}

// By no path that fits into an address; its directory is here all the same.
TEST_F(BrokerPath, OneInADeepDirectoryIsListedAndCleaned) {
  const std::string deep = std::string(60, 'd') + "/" + std::string(60, 'e');
  const std::string socket = at(deep) + "/b.sock";
  fs::create_directories(deep);
  fs::current_path(deep);
  Child broker(broker_at("./b.sock"));
  ASSERT_TRUE(broker.is_ready());
  fs::current_path(directory_);
  ASSERT_THAT(entries_of(socket), SizeIs(1));
  EXPECT_TRUE(entries_of(socket)[0].alive);
  EXPECT_EQ(entries_of(socket)[0].socket_path, socket);
  broker.kill();
  const auto dead = entries_of(socket);
  ASSERT_THAT(dead, SizeIs(1));
  EXPECT_FALSE(dead[0].alive);
  EXPECT_EQ(dead[0].socket_path, socket);
  remove_leftovers(dead[0]);
  EXPECT_TRUE(fs::is_empty(deep));
  EXPECT_THAT(entries_of(socket), IsEmpty());
}

TEST_F(BrokerPath, ASocketOfAnotherProgramInADeepDirectoryStays) {
  const std::string deep = std::string(60, 'd') + "/" + std::string(60, 'e');
  fs::create_directories(deep);
  fs::current_path(deep);
  Child dead(broker_at("./b.sock"));
  ASSERT_TRUE(dead.is_ready());
  dead.kill();
  fs::remove("b.sock");
  const int fd = bind_socket("b.sock", SOCK_SEQPACKET, true);
  fs::current_path(directory_);
  const auto entries = entries_of(at(deep) + "/b.sock");
  ASSERT_THAT(entries, SizeIs(1));
  remove_leftovers(entries[0]);
  EXPECT_TRUE(fs::is_socket(deep + "/b.sock"));
  EXPECT_THAT(entries_of(at(deep) + "/b.sock"), IsEmpty());
  ::close(fd);
}

TEST_F(BrokerPath, WhatCannotBeAPathIsRefused) {
  EXPECT_THAT(refusal("./nowhere/b.sock"), AllOf(HasSubstr("no directory"), HasSubstr("make it first")));
  for (const auto* path : {"./", "./.", "./.."}) EXPECT_THAT(refusal(path), HasSubstr("names a directory")) << path;
  EXPECT_THAT(files(), IsEmpty());
  write("notes.txt", "precious");
  fs::create_symlink("circle", "circle");
  const std::string long_name(300, 'd');
  EXPECT_THAT(refusal("notes.txt/b.sock"),
              AllOf(HasSubstr(at("notes.txt") + " is a regular file"), HasSubstr("choose another place")));
  EXPECT_THAT(refusal("notes.txt/d/b.sock"), AllOf(HasSubstr("no directory"), HasSubstr("choose another place")));
  EXPECT_THAT(refusal("circle/b.sock"), AllOf(HasSubstr("circle"), HasSubstr("name the directory itself")));
  EXPECT_THAT(refusal(long_name + "/b.sock"), AllOf(HasSubstr("too long"), HasSubstr("choose a shorter one")));
  EXPECT_THAT(files(), ElementsAre("circle", "notes.txt"));
}

TEST_F(BrokerPath, TheProgramSaysSoAndExitsWithTwo) {
  const char* const bin = std::getenv("IPCQ_BIN_DIR");
  ASSERT_NE(bin, nullptr) << "IPCQ_BIN_DIR is not set: the folder of ipcq-broker";
  const std::string program = std::string(bin) + "/ipcq-broker";
  if (::access(program.c_str(), X_OK) != 0) GTEST_SKIP() << program << " was not built";
  write("notes.txt", "precious");
  const pid_t pid = spawn_program({program, "--name", at("notes.txt"), "--queue", "q=4KiB"});
  int status = 0;
  ASSERT_TRUE(eventually([&] { return ::waitpid(pid, &status, WNOHANG) == pid; })) << ::kill(pid, SIGKILL);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 2);
  EXPECT_EQ(read("notes.txt"), "precious");
}

}  // namespace
}  // namespace ipcq_test
