#include "common/peer.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "common/temporary_folder.hpp"

namespace ipcq::bench {

namespace {

const std::string kBrokerName = "bench-" + std::to_string(getpid());  // made before any fork

}  // namespace

const std::string& broker_name() { return kBrokerName; }

void fail(const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, what.c_str());
  remove_temporary_folders();
  std::_Exit(1);
}

void Peer::join() {
  if (pid_ == 0) return;
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = 0;
  if (status != 0) fail("a process of the benchmark failed");
}

pid_t Peer::fork_process() {
  const pid_t pid = fork();
  if (pid < 0) fail("fork failed");
  return pid;
}

void* map_shared(std::size_t bytes) {
  void* const data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (data == MAP_FAILED) fail("mmap failed");
  return data;
}

void unmap_shared(void* data, std::size_t bytes) noexcept { munmap(data, bytes); }

}  // namespace ipcq::bench
