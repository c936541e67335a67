// What the system does not have: descriptors, threads, memory, inodes, a writable /dev/shm. Each is told as itself,
// with its remedy, and what had been made by then is undone. Each child is a process of its own, so that limits and
// mounts are its own, too.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "process/bad_input.hpp"

namespace ipcq_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Shortage : public BadInput {
 protected:
  // Runs `body` in a child, 30 s at most. Returns what it returns, or the text of the SystemError that it throws behind
  // its errno, as "24: ...".
  std::string in_child(const std::function<std::string()>& body) {
    int pipe[2];
    EXPECT_EQ(::pipe(pipe), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::alarm(30);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(pipe[0]);
      std::string text;
      try {
        text = body();
      } catch (const SystemError& e) {
        text = std::to_string(e.code()) + ": " + e.what();
      } catch (const std::exception& e) {
        text = std::string("another error: ") + e.what();
      }
      (void)!::write(pipe[1], text.data(), text.size());
      ::_exit(0);
    }
    ::close(pipe[1]);
    std::string text;
    char buffer[512];
    for (ssize_t n = 0; (n = ::read(pipe[0], buffer, sizeof buffer)) > 0;) text.append(buffer, n);
    ::close(pipe[0]);
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status) << " after: " << text;
    return text;
  }

  std::vector<std::string> run_directory_files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(run_directory())) {
      if (entry.path().filename().string().rfind(name_, 0) == 0) names.push_back(entry.path().filename());
    }
    return names;
  }
};

// Not by operator+, which GCC 12 warns of where it is inlined (-Wrestrict, its bug 105651).
std::string queue_name(int i) {
  std::string name("q");
  return name.append(std::to_string(i));
}

void limit(decltype(RLIMIT_NOFILE) resource, rlim_t value) {
  rlimit l{};
  if (::getrlimit(resource, &l) != 0) throw std::runtime_error("getrlimit");
  l.rlim_cur = value;
  if (::setrlimit(resource, &l) != 0) throw std::runtime_error("setrlimit");
}

// From now on this thread gets no other: its clone() answers EAGAIN, as at the limit of a user or a container.
void refuse_threads() {
  constexpr auto kNumber = static_cast<std::uint32_t>(offsetof(seccomp_data, nr));
  constexpr auto kFlags = static_cast<std::uint32_t>(offsetof(seccomp_data, args));  // of clone on x86-64 and arm64
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumber),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),  // its flags cannot be seen; libc then uses clone
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kFlags),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{sizeof code / sizeof *code, code};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    throw std::runtime_error("no seccomp here");
  }
}

testing::Matcher<std::string> says_no_thread(const std::string& object) {
  return AllOf(HasSubstr("11: "), HasSubstr(object), HasSubstr("pthread_create failed: Resource temporarily"),
               HasSubstr("ulimit -u"), HasSubstr("pids.max"));
}

TEST_F(Shortage, NoThreadForABroker) {
  EXPECT_THAT(in_child([&] {
                refuse_threads();
                const Broker b(BrokerOptions{.name = name_});
                return std::string("made");
              }),
              says_no_thread("broker '" + name_ + "'"));
  EXPECT_THAT(run_directory_files(), testing::IsEmpty()) << "left behind";
  embed_broker().create("q");  // the name is free
}

TEST_F(Shortage, NoThreadForASession) {
  spawn_broker();
  EXPECT_THAT(in_child([&] {
                refuse_threads();
                auto session = connect({.broker = name_, .wait_for = kPeerBound});
                return std::string("made");
              }),
              says_no_thread("session with broker '" + name_ + "'"));
  auto session = connect({.broker = name_});  // the broker goes on
  EXPECT_EQ(session.producer("q").send("x", 1), Status::ok);
}

TEST_F(Shortage, NoThreadForAnExecutor) {
  const std::string said = in_child([&] {
    Broker b(BrokerOptions{.name = name_});
    refuse_threads();
    try {
      b.create("up", {.handler = "upper", .threads = 3});
    } catch (const SystemError&) {
      if (!segments().empty()) return std::string("left behind");
      b.create("up");  // the name is free, and this needs no thread
      throw;
    }
    return std::string("made");
  });
  EXPECT_THAT(said, says_no_thread("executor of queue 'up'"));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which need addresses of their own

// A container has 64 MB of /dev/shm unless it is told otherwise.
bool has_room(std::uint64_t bytes) {
  struct statvfs fs {};
  return ::statvfs("/dev/shm", &fs) == 0 && (fs.f_blocks == 0 || std::uint64_t{fs.f_bavail} * fs.f_frsize > bytes);
}

std::uint64_t address_space() {
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// Some workers run by then, and end again.
TEST_F(Shortage, TooFewThreadsForAnExecutor) {
  const std::string said = in_child([&] {
    Broker b(BrokerOptions{.name = name_});
    limit(RLIMIT_AS, address_space() + (128u << 20));  // of threads with stacks of 8 MiB, not many
    try {
      b.create("up", {.handler = "upper", .threads = 200});
    } catch (const SystemError&) {
      if (!segments().empty()) return std::string("left behind");
      b.create("up", {.handler = "upper", .threads = 1});
      throw;
    }
    return std::string("made");
  });
  EXPECT_THAT(said, says_no_thread("executor of queue 'up'"));
}

TEST_F(Shortage, NoAddressesForAQueue) {
  if (!has_room(80u << 20)) GTEST_SKIP() << "/dev/shm has no room for 80 MiB";
  const std::string said = in_child([&] {
    Broker b(BrokerOptions{.name = name_});
    limit(RLIMIT_AS, address_space() + (16u << 20));
    try {
      b.create("big", {.slots = 64, .size = 1u << 20});
    } catch (const SystemError&) {
      if (!segments().empty()) return std::string("left behind");
      throw;
    }
    return std::string("made");
  });
  EXPECT_THAT(said, AllOf(HasSubstr("12: segment ipcq+"), HasSubstr("+big+"), HasSubstr("mmap failed"),
                          HasSubstr("bytes of address space"), HasSubstr("ulimit -v")));
}

#endif

TEST_F(Shortage, NoDescriptorForAQueue) {
  if (kChecksNeedDescriptors) GTEST_SKIP() << "the sanitizer's own checks need descriptors";
  const std::string said = in_child([&] {
    Broker b(BrokerOptions{.name = name_});
    limit(RLIMIT_NOFILE, 24);
    for (int i = 0;; ++i) b.create(queue_name(i));
    return std::string("made");
  });
  EXPECT_THAT(said, AllOf(HasSubstr("24: segment ipcq+"), HasSubstr("+q"), HasSubstr("is limited to 24 open files"),
                          HasSubstr("ulimit -n")));
}

// Whatever it is that the first limit leaves no descriptor for: socket, pidfd, or the answer's memfd.
TEST_F(Shortage, NoDescriptorForAnAnswer) {
  if (kChecksNeedDescriptors) GTEST_SKIP() << "the sanitizer's own checks need descriptors";
  spawn_broker();
  const std::string said = in_child([&] {
    std::string all;
    for (rlim_t n = 4; n < 100; ++n) {
      limit(RLIMIT_NOFILE, n);
      try {
        (void)fetch_stats(name_);
        return all.append("answered");
      } catch (const SystemError& e) {
        if (e.code() != EMFILE || std::string(e.what()).find("ulimit -n") == std::string::npos) throw;
        if (std::string(e.what()).find("recvmsg") != std::string::npos) all += "answer ";
      }
    }
    return all;
  });
  EXPECT_EQ(said, "answer answered");
}

// A client's map of a segment keeps none.
TEST_F(Shortage, AClientNeedsNoDescriptorForAQueue) {
  Broker& b = embed_broker();
  for (int i = 0; i < 20; ++i) b.create(queue_name(i), {.slots = 1, .size = 64, .lines = 2, .endpoints = 2});
  auto session = connect({.broker = name_});
  const auto open_files = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  const auto before = open_files();
  std::vector<Producer> producers;
  for (int i = 0; i < 20; ++i) producers.push_back(session.producer(queue_name(i)));
  EXPECT_EQ(open_files(), before);
}

TEST_F(Shortage, AFileMayNotBeThatLarge) {
  const std::string said = in_child([&] {
    Broker b(BrokerOptions{.name = name_});
    limit(RLIMIT_FSIZE, 1u << 20);  // a SIGXFSZ would end the child
    b.create("big", {.slots = 64, .size = 1u << 20});
    return std::string("made");
  });
  EXPECT_THAT(said, AllOf(HasSubstr("27: segment ipcq+"), HasSubstr("is limited to 1048576 bytes a file"),
                          HasSubstr("ulimit -f")));
}

// What a broker or its create() says, in a mount namespace of its own, of a /dev/shm that `mount_it` has made.
class ShmShortage : public Shortage {
 protected:
  void expect(const std::function<bool()>& mount_it, const testing::Matcher<std::string>& what) {
    const std::string said = in_child([&] {
      if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          !mount_it()) {
        return std::string("skip");
      }
      Broker b(BrokerOptions{.name = name_});
      b.create("cam");
      return std::string("made");
    });
    if (said == "skip") GTEST_SKIP() << "no mount namespace for this user";
    EXPECT_THAT(said, what);
  }
};

TEST_F(ShmShortage, WithoutAnInodeTheErrorNamesTheRemedy) {
  expect([] { return ::mount("tmpfs", "/dev/shm", "tmpfs", 0, "nr_inodes=3") == 0; },
         AllOf(HasSubstr("28: "), HasSubstr("+queue+cam+"), HasSubstr("0 of 3 inodes are free in /dev/shm"),
               HasSubstr("nr_inodes"), Not(HasSubstr("shm-size"))));
}

TEST_F(ShmShortage, AReadOnlyDevShmIsToldApartFromAMissingRight) {
  expect([] { return ::mount("tmpfs", "/dev/shm", "tmpfs", MS_RDONLY, "") == 0; },
         AllOf(HasSubstr("30: record "), HasSubstr(name_), HasSubstr("remount,rw"), Not(HasSubstr("run as"))));
}

TEST_F(ShmShortage, AMissingDevShmIsSaidToBeMissing) {
  expect(
      [] { return ::mount("tmpfs", "/dev", "tmpfs", 0, "") == 0; },
      AllOf(HasSubstr("2: record "), HasSubstr(name_), HasSubstr("/dev/shm is missing"), HasSubstr("mount -t tmpfs")));
}

}  // namespace
}  // namespace ipcq_test
