// Brokers in processes of their own, with their files in a directory of the test, which checks these.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/admin.hpp"
#include "ipcq/broker.hpp"
#include "ipcq/error.hpp"
#include "ipcq/session.hpp"

namespace ipcq_test {

using namespace ipcq;
namespace fs = std::filesystem;

constexpr const char* kLockSuffix = ".ipcq-lock";
constexpr uid_t kOtherUser = 65534;

// A process that a test has started. It is killed with this object.
class Child {
 public:
  // Runs `body` in the child. `body` calls its argument once it is ready, before it returns.
  explicit Child(const std::function<void(const std::function<void()>&)>& body) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe(ends), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::alarm(60);
      try {
        body([&] { (void)!::write(ends[1], "r", 1); });
        for (;;) ::pause();
      } catch (const std::exception& e) {
        std::cerr << e.what() << "\n";
      }
      ::_exit(1);
    }
    ::close(ends[1]);
    pollfd p{ends[0], POLLIN, 0};
    char byte = 0;
    ready_ = ::poll(&p, 1, 20'000) == 1 && ::read(ends[0], &byte, 1) == 1;
    ::close(ends[0]);
  }
  ~Child() { kill(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  bool is_ready() const { return ready_; }
  pid_t pid() const { return pid_; }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  bool ready_ = false;
};

class BrokerFiles : public testing::Test {
 protected:
  BrokerFiles() {
    std::string path = (fs::temp_directory_path() / "ipcq-files.XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("mkdtemp " + path);
    directory_ = fs::canonical(path).string();
    fs::current_path(directory_);
  }
  ~BrokerFiles() override {
    fs::current_path("/");
    for (const auto& e : list_brokers()) {  // leftovers of brokers that a test has killed
      if (!e.alive && e.name.rfind(directory_, 0) == 0) remove_leftovers(e);
    }
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
  }

  std::string at(const std::string& file) const { return directory_ + "/" + file; }

  static void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
  static std::string read(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& e : fs::directory_iterator(directory_)) names.push_back(e.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }
  // The paths of the records, in /dev/shm, of brokers at this path, dead or alive.
  static std::vector<std::string> records_of(const std::string& socket_path) {
    std::vector<std::string> found;
    for (const auto& e : fs::directory_iterator("/dev/shm")) {
      if (e.path().string().find("+broker+") == std::string::npos || !e.is_regular_file()) continue;
      if (read(e.path()).find(socket_path) != std::string::npos) found.push_back(e.path().string());
    }
    return found;
  }
  static mode_t mode_of(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
    return status.st_mode & 07777;
  }

  // Binds a socket as another program would.
  static int bind_socket(const std::string& path, int type, bool listening) {
    const int fd = ::socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0) << path;
    if (listening) {
      EXPECT_EQ(::listen(fd, 4), 0);
    }
    return fd;
  }

  static std::string refusal(const std::string& name) {
    return error_of<UsageError>([&] { const Broker broker({.name = name}); });
  }
  // A Child's body that runs a broker, with a queue unless `queue` is false.
  static std::function<void(const std::function<void()>&)> broker_at(const std::string& name, bool queue = true,
                                                                     const std::string& group = {}) {
    return [=](const std::function<void()>& ready) {
      static Broker broker({.name = name, .group = group});
      if (queue) broker.create("q", {.slots = 1});
      ready();
      for (;;) ::pause();
    };
  }
  static std::vector<BrokerEntry> entries_of(const std::string& name) {
    std::vector<BrokerEntry> found;
    for (auto& e : list_brokers()) {
      if (e.name == name || e.socket_path == name) found.push_back(e);
    }
    return found;
  }

  std::string directory_;
};

// The same with a run directory of its own.
class RunDirectory : public BrokerFiles {
 protected:
  RunDirectory() {
    if (const char* const xdg = std::getenv("XDG_RUNTIME_DIR")) before_ = xdg;
    ::setenv("XDG_RUNTIME_DIR", directory_.c_str(), 1);
  }
  ~RunDirectory() override {
    before_.empty() ? ::unsetenv("XDG_RUNTIME_DIR") : ::setenv("XDG_RUNTIME_DIR", before_.c_str(), 1);
  }

 private:
  std::string before_;
};

}  // namespace ipcq_test
