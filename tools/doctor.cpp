#include "doctor.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ipcq/admin.hpp>
#include <ipcq/error.hpp>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "child_program.hpp"
#include "handler.hpp"
#include "program/exit_code.hpp"
#include "program/file_descriptor.hpp"
#include "program/findings_report.hpp"
#include "program/format.hpp"
#include "program/gpu_findings.hpp"
#include "program/pattern.hpp"
#include "program/print.hpp"
#include "program/printable.hpp"
#include "redis_probe.hpp"
#include "runner_probe.hpp"

namespace ipcq::program {
namespace {

using Level = Finding::Level;

Finding check_run_directory(const std::string& path) {
  const std::string subject = "run directory";
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno != ENOENT) {
      return {Level::fail, subject, fmt::format("{}: {}", path, std::strerror(errno)), "make its parents accessible"};
    }
    const auto parent = path.substr(0, path.rfind('/'));
    if (::access(parent.c_str(), W_OK | X_OK) == 0)
      return {Level::ok, subject, path + ": the first broker makes it", {}};
    return {Level::fail, subject, fmt::format("{} is not there and {} is not writable", path, parent),
            "set XDG_RUNTIME_DIR to a directory of yours"};
  }
  if (!S_ISDIR(status.st_mode)) return {Level::fail, subject, path + " is no directory", "remove it"};
  if (::access(path.c_str(), W_OK | X_OK) != 0) {
    return {Level::fail, subject, path + " is not writable for this user",
            "set XDG_RUNTIME_DIR to a directory of yours, or let its owner remove it"};
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return {Level::warn, subject, path + " is writable for others", "chmod go-w " + path};
  }
  return {Level::ok, subject, path, {}};
}

Finding check_shared_memory() {
  const std::string subject = "/dev/shm";
  const char* const remedy = "mount -t tmpfs tmpfs /dev/shm, or start the container with --shm-size";
  struct statvfs status {};
  if (::statvfs("/dev/shm", &status) != 0) return {Level::fail, subject, std::strerror(errno), remedy};
  const std::uint64_t total = std::uint64_t{status.f_blocks} * status.f_frsize;
  const std::uint64_t free = std::uint64_t{status.f_bavail} * status.f_frsize;

  const auto name = fmt::format("/ipcq-doctor-{}", ::getpid());
  const FileDescriptor fd(::shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) {
    return {Level::fail, subject, fmt::format("cannot make a segment: {}", std::strerror(errno)),
            "check its mode (1777)"};
  }
  ::shm_unlink(name.c_str());
  const int error = ::posix_fallocate(fd.get(), 0, 1 << 20);
  if (error != 0) return {Level::fail, subject, fmt::format("cannot reserve 1 MiB: {}", std::strerror(error)), remedy};
  auto text = fmt::format("{} of {} free", human_bytes(free), human_bytes(total));
  constexpr std::uint64_t kDemo = 8 * std::uint64_t{Pattern4k::kFrameBytes};
  if (free < kDemo + (16U << 20)) {
    return {Level::warn, subject, text + fmt::format("; 8 slots of 4K RGB need {}", human_bytes(kDemo)),
            "use fewer slots, free some (ipcq clean), or start the container with a larger --shm-size"};
  }
  return {Level::ok, subject, std::move(text), {}};
}

Finding check_membarrier() {
  const auto call = [](int command) { return ::syscall(SYS_membarrier, command, 0, 0); };
  // Each command that the library uses: a seccomp profile may allow one and not the other.
  for (const auto& [command, name] :
       {std::pair{MEMBARRIER_CMD_QUERY, "MEMBARRIER_CMD_QUERY"},
        std::pair{MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, "MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED"},
        std::pair{MEMBARRIER_CMD_GLOBAL_EXPEDITED, "MEMBARRIER_CMD_GLOBAL_EXPEDITED"}}) {
    if (call(command) >= 0) continue;
    return {Level::warn, "membarrier",
            fmt::format("{} answers: {}; publishers pay with full fences, and a call that sleeps until a message "
                        "comes checks for it each millisecond",
                        name, std::strerror(errno)),
            "Linux 4.16 or later; let the container's seccomp profile allow membarrier"};
  }
  return {Level::ok, "membarrier", "available", {}};
}

Finding check_futex() {
  std::uint32_t word = 1;
  const long result = ::syscall(SYS_futex, &word, FUTEX_WAIT, 0, nullptr, nullptr, 0);
  if (result == -1 && errno == EAGAIN) return {Level::ok, "futex", "available", {}};
  return {Level::fail, "futex", fmt::format("FUTEX_WAIT answers: {}", std::strerror(errno)),
          "let the seccomp profile allow futex; until then only wait=spin works"};
}

Finding check_pidfd() {
  const FileDescriptor fd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (fd.valid()) return {Level::ok, "pidfd_open", "available", {}};
  const std::string why = std::strerror(errno);
  const char* const remedy = "Linux 5.3 or later; let the container's seccomp profile allow pidfd_open";
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == 0) {
    const FileDescriptor one(ends[0]), other(ends[1]);
    constexpr int kPeerPidfd = 77;  // SO_PEERPIDFD, Linux 6.5
    int pidfd = -1;
    socklen_t size = sizeof pidfd;
    if (::getsockopt(one.get(), SOL_SOCKET, kPeerPidfd, &pidfd, &size) == 0) {
      const FileDescriptor of_peer(pidfd);
      return {Level::warn, "pidfd_open", why + ": a broker here watches clients all the same, but starts no runner",
              remedy};
    }
  }
  return {Level::fail, "pidfd_open", why + ": no broker can run here; clients of one elsewhere can", remedy};
}

Finding check_cpu() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool known = __get_cpuid(1, &a, &b, &c, &d) != 0;
  if (!known || (c & bit_CMPXCHG16B) == 0) {
    return {Level::fail, "processor", "no cmpxchg16b",
            "a processor (or a virtual one) of x86-64-v2 or later is needed"};
  }
  if ((c & bit_AVX) == 0) {
    return {Level::warn, "processor", "cmpxchg16b but no AVX: 16-byte loads are not promised to be single",
            "use a processor type with AVX for the virtual machine"};
  }
  return {Level::ok, "processor", "16-byte atomics (cmpxchg16b, AVX)", {}};
#else
  return {Level::warn, "processor", "not x86-64: 16-byte atomics were not examined", {}};
#endif
}

Finding check_cores() {
  const unsigned cores = std::thread::hardware_concurrency();
  if (cores >= 2) return {Level::ok, "cores", std::to_string(cores), {}};
  return {Level::warn, "cores", "1: a spinning side takes the time of the one it waits for", "use --wait sleep"};
}

Finding check_memlock() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return {Level::warn, "memlock", std::strerror(errno), {}};
  const auto text = limit.rlim_cur == RLIM_INFINITY ? std::string("unlimited") : human_bytes(limit.rlim_cur);
  return {Level::ok, "memlock", text + " (only queues on a GPU pin memory)", {}};
}

std::vector<Finding> check_gpus() {
  const std::string runner = find_runner();
  if (runner.empty()) {
    const bool driver = ::access("/proc/driver/nvidia/version", F_OK) == 0;
    return {
        {driver ? Level::warn : Level::ok, "GPU",
         fmt::format("host backend only: no ipcq-runner here{}", driver ? ", though there is an NVIDIA driver" : ""),
         driver ? "build where nvcc is (cmake says whether it was found), or set IPCQ_RUNNER" : ""}};
  }
  try {
    return gpu_findings(probe_by(runner));
  } catch (const Failure& error) {
    return {{Level::warn, "GPU", fmt::format("host backend only: {}", error.what()), "run it by hand to see why"}};
  }
}

// What compiles handlers of the user's, for the host or for a GPU.
Finding check_handler_compiler(const std::string& compiler, const char* subject, std::vector<std::string> arguments) {
  try {
    auto [code, text] =
        run_child(compiler, std::move(arguments), std::chrono::seconds(60), "run it by hand to see why");
    while (!text.empty() && text.back() == '\n') text.pop_back();
    if (code == kOk) return {Level::ok, subject, text, {}};
    const auto cut = text.find("; ");
    return {Level::warn, subject, text.substr(0, cut), cut == std::string::npos ? "" : text.substr(cut + 2)};
  } catch (const Failure& error) {
    return {Level::warn, subject, error.what(), "install ipcq-compiler anew, or set IPCQ_COMPILER to it"};
  }
}

std::vector<Finding> check_handler_compilers() {
  const std::string compiler = find_compiler();
  if (compiler.empty()) return {};
  std::vector<Finding> all = {check_handler_compiler(compiler, "handlers, host", {"--show-compiler", "--host"})};
  // Without a runner no queue is on a GPU.
  if (find_runner().empty()) return all;
  all.push_back(check_handler_compiler(compiler, "handlers", {"--show-compiler"}));
  all.push_back(check_handler_compiler(compiler, "handlers, linked", {"--show-linker"}));
  return all;
}

Finding check_broker(const BrokerEntry& entry) {
  const auto subject = fmt::format("broker '{}'", entry.name);
  if (!entry.alive) {
    return {Level::warn, subject,
            fmt::format("dead; it left {} segments, {}", entry.segments.size(), human_bytes(entry.segment_bytes)),
            "ipcq clean"};
  }
  if (entry.socket_path.empty()) {
    return {Level::ok, subject,
            fmt::format("pid {}, {}; its socket is not to be seen here", entry.pid, human_bytes(entry.segment_bytes)),
            "another container has it, or its directory was removed: then restart it"};
  }
  try {
    const auto stats = fetch_stats(entry.socket_path);
    for (const auto& queue : stats.queues) {
      if (queue.blocked_by_pid != 0) {
        return {Level::warn, subject,
                fmt::format("queue '{}' is held up by process {}, which took a place and has not published", queue.name,
                            queue.blocked_by_pid),
                fmt::format("see whether process {} is stopped; kill -CONT or kill it", queue.blocked_by_pid)};
      }
      if (!queue.blocked_by_group.empty()) {
        return {Level::warn, subject,
                fmt::format("queue '{}' is full for group '{}', which keeps its messages and has no consumer",
                            queue.name, queue.blocked_by_group),
                fmt::format("start one (ipcq-consumer {} --group {}), or create the queue without that group",
                            queue.name, queue.blocked_by_group)};
      }
    }
    return {Level::ok,
            subject,
            fmt::format("pid {}, {} queues, {} clients", entry.pid, stats.queues.size(), stats.clients),
            {}};
  } catch (const std::exception& error) {
    return {Level::warn, subject, fmt::format("pid {} does not answer: {}", entry.pid, error.what()),
            fmt::format("see whether process {} is stopped", entry.pid)};
  }
}

}  // namespace

std::vector<Finding> examine() {
  Finding directory;
  std::vector<BrokerEntry> brokers;
  try {
    directory = check_run_directory(run_directory());
    brokers = list_brokers();
  } catch (const Error& error) {  // the run directory belongs to another user
    directory = {Level::fail, "run directory", error.what(), {}};
  }
  std::vector<Finding> findings = {directory,     check_shared_memory(), check_membarrier(), check_futex(),
                                   check_pidfd(), check_cpu(),           check_cores(),      check_memlock()};
  for (auto& finding : check_gpus()) findings.push_back(std::move(finding));
  for (auto& finding : check_handler_compilers()) findings.push_back(std::move(finding));
  for (const auto& entry : brokers) findings.push_back(check_broker(entry));
  return findings;
}

int doctor_command(const std::optional<std::string>& redis, bool json) {
  auto findings = examine();
  if (redis) {
    for (auto& finding : redis_findings(*redis)) findings.push_back(std::move(finding));
  }
  return report_findings(findings, json);
}

}  // namespace ipcq::program
