// Takes system features away from a peer, as an older kernel, valgrind or a container does:
// "pidfd_open,peerpidfd,proc".
#pragma once

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <vector>

namespace ipcq_test {

// From here on system call number `call` fails with `error`; with an `option`, only for that third argument.
inline bool deny(unsigned call, unsigned error, int option = -1) {
  std::vector<sock_filter> program = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                                      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 1, 0),
                                      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  if (option >= 0) {
    program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])));
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(option), 1, 0));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// False where the system does not let the process take it away.
inline bool do_without(const std::string& what) {
  constexpr int kPeerPidfd = 77;  // SO_PEERPIDFD
  const auto has = [&](const char* word) { return what.find(word) != std::string::npos; };
  if (has("proc") && (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
                      mount("tmpfs", "/proc", "tmpfs", 0, nullptr) != 0)) {
    return false;
  }
  return (!has("pidfd_open") || deny(SYS_pidfd_open, ENOSYS)) &&
         (!has("peerpidfd") || deny(SYS_getsockopt, ENOPROTOOPT, kPeerPidfd));
}

}  // namespace ipcq_test
