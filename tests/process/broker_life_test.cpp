// What proves that a broker lives, to whom that proof is open, and what its end removes.
#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>

#include "process/broker_files.hpp"
#include "process/without.hpp"

namespace ipcq_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class BrokerLife : public BrokerFiles {};

// As a cleaner of /tmp does.
TEST_F(BrokerLife, IsProvenWithoutTheLockFile) {
  for (const bool queue : {true, false}) {
    Child first(broker_at(at("b.sock"), queue));
    ASSERT_TRUE(first.is_ready());
    fs::remove("b.sock.ipcq-lock");
    EXPECT_THAT(refusal(at("b.sock")), AllOf(HasSubstr("pid " + std::to_string(first.pid())),
                                             HasSubstr("b.sock.ipcq-lock was removed"), HasSubstr("--name")));
    EXPECT_THAT(files(), ElementsAre("b.sock"));
    EXPECT_EQ(fetch_stats(at("b.sock")).pid, first.pid());
    ASSERT_THAT(entries_of(at("b.sock")), SizeIs(1));
    EXPECT_TRUE(entries_of(at("b.sock"))[0].alive);
    EXPECT_EQ(entries_of(at("b.sock"))[0].pid, first.pid());
    EXPECT_THAT(error_of<UsageError>([&] { remove_leftovers(entries_of(at("b.sock"))[0]); }), HasSubstr("live"));
    first.kill();
    remove_leftovers(entries_of(at("b.sock"))[0]);
    EXPECT_THAT(files(), IsEmpty());
  }
}

TEST_F(BrokerLife, IsProvenWithoutTheWholeDirectory) {
  fs::create_directory("run");
  Child first(broker_at("run/b.sock"));
  ASSERT_TRUE(first.is_ready());
  fs::rename("run", "before");  // so that the new one has another number
  fs::create_directory("run");
  fs::remove_all("before");
  EXPECT_THAT(refusal("run/b.sock"), AllOf(HasSubstr("pid " + std::to_string(first.pid())), HasSubstr("was removed")));
  EXPECT_TRUE(fs::is_empty("run"));
  first.kill();
  const Broker successor({.name = "run/b.sock"});
}

// Whose /dev/shm is another one.
TEST_F(BrokerLife, IsProvenByWhoAnswersAtTheSocket) {
  Child first(broker_at(at("b.sock"), false));
  ASSERT_TRUE(first.is_ready());
  fs::remove("b.sock.ipcq-lock");
  for (const auto& record : records_of(at("b.sock"))) fs::remove(record);
  EXPECT_THAT(refusal(at("b.sock")),
              AllOf(HasSubstr("somebody listens"), HasSubstr("pid " + std::to_string(first.pid()))));
  EXPECT_EQ(fetch_stats(at("b.sock")).pid, first.pid());
}

TEST_F(BrokerLife, ItsEndRemovesOnlyWhatIsStillItsOwn) {
  {
    Broker broker({.name = at("b.sock")});
    broker.create("q", {.slots = 1});
    fs::remove("b.sock");
    fs::remove("b.sock.ipcq-lock");
    ::close(bind_socket("b.sock", SOCK_STREAM, true));
    write("b.sock.ipcq-lock", "precious");
  }
  EXPECT_THAT(files(), ElementsAre("b.sock", "b.sock.ipcq-lock"));
  EXPECT_EQ(read("b.sock.ipcq-lock"), "precious");
  EXPECT_TRUE(fs::is_socket("b.sock"));
}

// Files that no other user can open, no other user can lock.
TEST_F(BrokerLife, ItsProofIsClosedToOthers) {
  const mode_t before = ::umask(0);
  const Broker broker({.name = at("b.sock")});
  ::umask(before);
  EXPECT_EQ(mode_of("b.sock.ipcq-lock"), 0600u);
  ASSERT_THAT(records_of(at("b.sock")), SizeIs(1));
  EXPECT_EQ(mode_of(records_of(at("b.sock"))[0]), 0600u);
}

TEST_F(BrokerLife, ALockFileThatWasOpenIsClosedByTheNext) {
  Child dead(broker_at(at("b.sock"), false));
  ASSERT_TRUE(dead.is_ready());
  dead.kill();
  fs::permissions("b.sock.ipcq-lock", fs::perms(0644));
  const Broker broker({.name = at("b.sock")});
  EXPECT_EQ(mode_of("b.sock.ipcq-lock"), 0600u);
}

TEST_F(RunDirectory, IsForItsUserAlone) {
  const mode_t before = ::umask(0);
  const Broker broker({.name = "b"});
  ::umask(before);
  EXPECT_EQ(mode_of("ipcq"), 0700u);
}

// What others put there could keep a broker from its start.
TEST_F(RunDirectory, ThatOthersMayWriteIsClosedToThat) {
  std::vector<std::string> logged;
  const auto log = [&](LogLevel, std::string_view text) { logged.emplace_back(text); };
  for (const unsigned mode : {0777u, 02770u, 0710u}) {
    fs::create_directory("ipcq");
    fs::permissions("ipcq", fs::perms(mode));
    { const Broker by_path({.name = at("ipcq/b.sock"), .log = log}); }
    EXPECT_EQ(mode_of("ipcq"), mode) << "a directory named by its path is not ours to change";
    EXPECT_THAT(logged, IsEmpty());
    { const Broker by_name({.name = "b", .log = log}); }
    EXPECT_EQ(mode_of("ipcq"), mode & ~022u) << "who may look into it is the user's own choice";
    if (mode == 0710u) {
      EXPECT_THAT(logged, IsEmpty());
    } else {
      EXPECT_THAT(logged, ElementsAre(HasSubstr(at("ipcq") + " could be written by others")));
    }
    logged.clear();
    { const Broker again({.name = "b", .log = log}); }
    EXPECT_THAT(logged, IsEmpty());
    fs::remove("ipcq");
  }
}

TEST_F(RunDirectory, ThatCannotBeClosedIsRefusedWithWhatCanBeDone) {
  fs::create_directory("ipcq");
  fs::permissions("ipcq", fs::perms(0777));
  const pid_t pid = ::fork();
  if (pid == 0) {
    bool denied = deny(SYS_fchmodat, EPERM);
#ifdef SYS_chmod
    denied = denied && deny(SYS_chmod, EPERM);
#endif
    if (!denied) ::_exit(77);
    const auto text = error_of<PermissionError>([] { const Broker broker({.name = "b"}); });
    EXPECT_THAT(text,
                AllOf(HasSubstr(at("ipcq")), HasSubstr("mode 0777 lets others write"), HasSubstr("XDG_RUNTIME_DIR")));
    ::_exit(HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_TRUE(eventually([&] { return ::waitpid(pid, &status, WNOHANG) == pid; })) << ::kill(pid, SIGKILL);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "seccomp filters are refused here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(fs::is_empty("ipcq"));
}

TEST_F(RunDirectory, AnotherUsersIsRefusedWithWhatCanBeDone) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a directory to another user";
  fs::create_directory("ipcq");
  ASSERT_EQ(::chown("ipcq", kOtherUser, kOtherUser), 0);
  const auto advice = AllOf(HasSubstr(at("ipcq")), HasSubstr("belongs to another user (uid 65534)"),
                            HasSubstr("set XDG_RUNTIME_DIR to a directory of this user (uid 0)"));
  EXPECT_THAT(error_of<PermissionError>([] { const Broker broker({.name = "b"}); }), advice);
  EXPECT_THAT(error_of<PermissionError>([] { (void)connect({.broker = "b"}); }), advice);
  ASSERT_EQ(::chown("ipcq", 0, 0), 0);
}

TEST_F(RunDirectory, AFileInItsPlaceIsRefusedWithWhatCanBeDone) {
  write("ipcq", "");
  const auto advice = AllOf(HasSubstr(at("ipcq") + ": is no directory; remove it"), HasSubstr("XDG_RUNTIME_DIR"));
  EXPECT_THAT(refusal("b"), advice);
  EXPECT_THAT(error_of<UsageError>([] { (void)fetch_stats("b"); }), advice);
  EXPECT_THAT(error_of<UsageError>([] { (void)list_brokers(); }), advice);
  fs::remove("ipcq");  // the fixture lists, too
}

TEST_F(RunDirectory, OthersFilesInItAreNoBrokers) {
  fs::create_directory("ipcq");
  write("ipcq/a.sock", "");
  write("ipcq/b.sock.ipcq-lock", "precious");
  fs::create_directory("ipcq/c.sock.ipcq-lock");
  ASSERT_EQ(::mkfifo("ipcq/d.sock.ipcq-lock", 0600), 0);
  write("ipcq/e.lock", "1234\n");
  write("ipcq/" + std::string(200, 'f') + ".sock", "");
  for (const auto& e : list_brokers()) EXPECT_THAT(e.socket_path, testing::Not(HasSubstr(directory_)));
  EXPECT_THAT(refusal("a"), HasSubstr("a regular file"));
  EXPECT_THAT(refusal("b"), HasSubstr("another content"));
}

// Names in shared memory that anybody may make.
class OthersInSharedMemory : public BrokerFiles {
 protected:
  OthersInSharedMemory() {
    const Broker broker({.name = at("b.sock")});
    record_ = records_of(at("b.sock")).at(0);
  }
  ~OthersInSharedMemory() override {
    std::error_code ignored;
    for (const auto& path : made_) fs::remove_all(path, ignored);
  }
  // Another name with the same beginning.
  std::string like(const std::string& kind) {
    std::string path = record_.substr(0, record_.find("+broker+"));
    path += kind;
    made_.push_back(path);
    return path;
  }

 private:
  std::string record_;
  std::vector<std::string> made_;
};

TEST_F(OthersInSharedMemory, DirectoriesAndLinksMakeNoBroker) {
  fs::create_directory(like("+queue+q+1"));
  fs::create_symlink("/etc/passwd", like("+pool+q+1"));
  ASSERT_EQ(::mkfifo(like("+broker+1").c_str(), 0600), 0);
  for (const auto& e : list_brokers()) EXPECT_THAT(e.name, testing::Not(HasSubstr("b+")));
  EXPECT_THAT(entries_of(at("b.sock")), IsEmpty());
  const Broker broker({.name = at("b.sock")});
}

TEST_F(OthersInSharedMemory, AnotherUsersFilesKeepNoBrokerAlive) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make another user's files";
  Child dead(broker_at(at("b.sock")));
  ASSERT_TRUE(dead.is_ready());
  dead.kill();
  const std::vector<std::string> theirs = {like("+queue+q+1"), like("+broker+1")};
  Child other([&](const std::function<void()>& ready) {
    if (::setgid(kOtherUser) != 0 || ::setuid(kOtherUser) != 0) ::_exit(2);
    for (const auto& path : theirs) {
      const int fd = ::open(path.c_str(), O_RDWR | O_CREAT, 0666);
      if (fd < 0 || ::flock(fd, LOCK_EX) != 0) ::_exit(3);
    }
    ready();
  });
  ASSERT_TRUE(other.is_ready());
  const auto entries = entries_of(at("b.sock"));
  ASSERT_THAT(entries, SizeIs(1));
  EXPECT_FALSE(entries[0].alive);
  EXPECT_THAT(entries[0].segments, SizeIs(2));
  remove_leftovers(entries[0]);
  EXPECT_THAT(entries_of(at("b.sock")), IsEmpty());
  const Broker broker({.name = at("b.sock")});
  for (const auto& path : theirs) EXPECT_TRUE(fs::exists(path)) << path;
}

// A member of the broker's group may open its segments, and so lock them.
TEST_F(OthersInSharedMemory, AClientThatLocksASegmentKeepsNoBrokerAlive) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be a client of another user";
  const ::group* const group = ::getgrgid(kOtherUser);
  if (group == nullptr) GTEST_SKIP() << "there is no group of number 65534";
  Child dead(broker_at(at("b.sock"), true, group->gr_name));
  ASSERT_TRUE(dead.is_ready());
  const auto before = entries_of(at("b.sock"));
  ASSERT_THAT(before, SizeIs(1));
  dead.kill();
  Child client([&](const std::function<void()>& ready) {
    if (::setgid(kOtherUser) != 0 || ::setuid(kOtherUser) != 0) ::_exit(2);
    for (const auto& s : before[0].segments) {
      const int fd = ::open(("/dev/shm/" + s).c_str(), O_RDWR);
      if (fd < 0 || ::flock(fd, LOCK_EX) != 0) ::_exit(3);
    }
    if (::open((at("b.sock") + kLockSuffix).c_str(), O_RDONLY) >= 0) ::_exit(4);
    ready();
  });
  ASSERT_TRUE(client.is_ready());
  EXPECT_FALSE(entries_of(at("b.sock"))[0].alive);
  const Broker successor({.name = at("b.sock")});
  for (const auto& s : before[0].segments) EXPECT_FALSE(fs::exists("/dev/shm/" + s)) << s;
}

// Its members cannot come to a socket in the user's own directory.
TEST_F(BrokerLife, AGroupThatCannotReachTheSocketIsSaid) {
  const ::group* const group = ::getgrgid(::getegid());
  if (group == nullptr) GTEST_SKIP() << "this process' group has no name";
  const std::string name = group->gr_name;
  std::vector<std::string> logged;
  const auto log = [&](LogLevel, std::string_view text) { logged.emplace_back(text); };
  fs::permissions(directory_, fs::perms(0700));
  { const Broker broker({.name = at("b.sock"), .group = name, .log = log}); }
  EXPECT_THAT(logged, ElementsAre(AllOf(HasSubstr("closed to members of group '" + name + "'"), HasSubstr("--name"))));
  logged.clear();
  fs::permissions(directory_, fs::perms(0750));
  { const Broker broker({.name = at("b.sock"), .group = name, .log = log}); }
  EXPECT_THAT(logged, IsEmpty());
}

}  // namespace
}  // namespace ipcq_test
