#include "base/system_error.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

constexpr std::string_view kConnectAsOwner =
    "run as the broker's user; or start the broker with --unix-group, join that group, and open the directories on "
    "that path to it";
constexpr std::string_view kOpenAsOwner = "run as the broker's user, or as a member of its --unix-group";
constexpr std::string_view kJoinGroup = "run the broker as a member of that group";
constexpr std::string_view kOwnDirectory = "set XDG_RUNTIME_DIR to a directory that this user may write";
constexpr std::string_view kPathIsDirectory = "set XDG_RUNTIME_DIR to a directory that exists, or make that one first";
constexpr std::string_view kShmMissing =
    "/dev/shm is missing: mount one (mount -t tmpfs -o mode=1777 tmpfs /dev/shm), or start the container with one";
constexpr std::string_view kShmReadOnly =
    "/dev/shm is mounted read-only: mount -o remount,rw /dev/shm, or start the container with a writable one";
constexpr std::string_view kOpenDirectories = "open the directories on that path to this user";
constexpr std::string_view kWritableDirectory = "let this user write that directory, or choose another place";
constexpr std::string_view kFileSize = "raise the limit of a file's size: ulimit -f, LimitFSIZE= of its unit";
constexpr std::string_view kDiskFull = "that file system is full, or has no inode left: remove files there";
constexpr std::string_view kNoThread =
    "raise the limit of this user's processes and threads (ulimit -u, LimitNPROC= of its unit) or that of the cgroup "
    "(pids.max, TasksMax=, --pids-limit of a container), whichever is reached; or run fewer of them";
constexpr std::string_view kNoPidfd =
    "Linux 5.3 or later is needed, and a seccomp profile (or valgrind) that knows the call";

constexpr Remedy kRemedies[] = {
    {"mkdir", EACCES, kOwnDirectory},
    {"mkdir", EPERM, kOwnDirectory},
    {"mkdir", ENOENT, kPathIsDirectory},
    {"mkdir", ENOTDIR, kPathIsDirectory},
    {"mkdir", ENOSPC, kDiskFull},
    {"open", EACCES, "let this user write that file and its directory, or choose another place"},
    {"open", EPERM, "let this user write that file and its directory, or choose another place"},
    {"open", ENOENT, "its directory does not exist; make it first"},
    {"open", ENOTDIR, "its directory is a file; choose another place"},
    {"open", ELOOP, "a symbolic link has that name; remove it, or choose another place"},
    {"open", EISDIR, "a directory has that name; choose another place"},
    {"open", ENOSPC, kDiskFull},
    {"open(O_RDONLY)", EACCES, "let this user read that file, and open the directories on its path to it"},
    {"open(O_RDONLY)", ENOTDIR, "a directory on that path is a file; choose another place"},
    {"open(O_PATH)", EACCES, kOpenDirectories},
    {"stat", EACCES, kOpenDirectories},
    {"unlink", EACCES, kWritableDirectory},
    {"unlink", EPERM, kWritableDirectory},
    {"write", ENOSPC, kDiskFull},
    {"write", EFBIG, kFileSize},
    {"rename", EISDIR, "a directory has that name; choose another place"},
    {"rename", EACCES, kWritableDirectory},
    {"rename", EPERM, kWritableDirectory},
    {"opendir", EACCES, "let this user read that directory"},
    {"bind", EADDRINUSE, "another file has that name; remove it if no program uses it, or choose another place"},
    {"bind", EACCES, kWritableDirectory},
    {"bind", EPERM, kWritableDirectory},
    {"bind", ENOENT, "its directory does not exist; make it first"},
    {"bind", ENOTDIR, "its directory is a file; choose another place"},
    {"bind", ENOSPC, kDiskFull},
    {"chown", EPERM, kJoinGroup},
    {"chmod", EPERM, "choose a place on a file system that keeps modes; a run directory is where XDG_RUNTIME_DIR says"},
    {"connect", EACCES, kConnectAsOwner},
    {"connect", EPERM, kConnectAsOwner},
    {"connect", ENAMETOOLONG,
     "a socket's path has 107 bytes at most; use a shorter XDG_RUNTIME_DIR, or a shorter path"},
    {"connect", EPROTOTYPE, "that socket is another program's; name the broker's, as `ipcq list` shows it"},
    {"connect", ENOTSOCK, "no socket has that name; name the broker's, as `ipcq list` shows it"},
    {"connect", EPROTONOSUPPORT, "that socket is another program's; name the broker's, as `ipcq list` shows it"},
    {"connect", ELOOP, "symbolic links on that path lead in a circle; name the socket itself"},
    {"connect", EAGAIN, "the broker does not take connections in; is it stopped (SIGSTOP), or are there too many?"},
    {"epoll_ctl", ENOSPC, "raise the limit of files that this user may watch: sysctl fs.epoll.max_user_watches"},
    {"pidfd_open", ENOSYS, kNoPidfd},
    {"pidfd_open", EPERM, kNoPidfd},
    {"pidfd_open", EINVAL, kNoPidfd},
    {"futex_waitv", ENOSYS, "a descriptor needs Linux 5.16 or later; else call receive() from a thread of its own"},
    {"futex_waitv", EPERM,
     "a seccomp profile forbids futex_waitv; allow it, or call receive() from a thread of its own"},
    {"pthread_create", EAGAIN, kNoThread},
    {"pthread_create", EPERM, "a security profile forbids threads; allow clone and clone3"},
    {"posix_spawn", EAGAIN, kNoThread},
    {"posix_spawn", ENOENT, "install it, or set IPCQ_RUNNER, IPCQ_HOST_RUNNER or IPCQ_COMPILER to its path"},
    {"posix_spawn", EACCES,
     "make it executable for this user, or set IPCQ_RUNNER, IPCQ_HOST_RUNNER or IPCQ_COMPILER to one that is"},
    {"posix_spawn", ENOEXEC,
     "it is no program of this machine; set IPCQ_RUNNER, IPCQ_HOST_RUNNER or IPCQ_COMPILER to one that is"},
    {"shm_open(O_CREAT)", EEXIST, "ipcq clean removes leftovers"},
    {"shm_open(O_CREAT)", EACCES, "let this user write /dev/shm (its mode is 1777 everywhere else)"},
    {"shm_open(O_CREAT)", EPERM, "let this user write /dev/shm (its mode is 1777 everywhere else)"},
    {"shm_open(O_CREAT)", ENOENT, kShmMissing},
    {"shm_open(O_CREAT)", ENOTDIR, kShmMissing},
    {"shm_open(O_CREAT)", EROFS, kShmReadOnly},
    {"shm_open(O_CREAT)", ENOSPC,
     "no inode is left there: remove leftovers (ipcq clean) and other files, or mount -o remount,nr_inodes=... "
     "/dev/shm"},
    {"shm_open", EACCES, kOpenAsOwner},
    {"shm_open", EPERM, kOpenAsOwner},
    {"shm_open", EROFS, kShmReadOnly},
    {"flock", EWOULDBLOCK, "another program has locked it; try again, or find the program that has it open (fuser)"},
    {"flock", ENOLCK, "the system has no lock left; close what holds locks"},
    {"fchown", EPERM, kJoinGroup},
    {"posix_fallocate", ENOSPC,
     "use fewer or smaller slots, enlarge it (mount -o remount,size=... /dev/shm), or start the container with a "
     "larger --shm-size"},
    {"posix_fallocate", ENOMEM,
     "/dev/shm counts as memory: use fewer or smaller slots, or raise the memory limit of the cgroup (memory.max, "
     "MemoryMax=, --memory of a container)"},
    {"posix_fallocate", EFBIG, kFileSize},
    {"posix_fallocate", EOPNOTSUPP, "/dev/shm must be a tmpfs: mount -t tmpfs -o mode=1777 tmpfs /dev/shm"},
    {"posix_fallocate", EINVAL, "/dev/shm must be a tmpfs: mount -t tmpfs -o mode=1777 tmpfs /dev/shm"},
    {"mmap", ENOMEM,
     "raise the limit that is reached: address space (ulimit -v), mappings (sysctl vm.max_map_count), or memory "
     "(memory.max, --memory of a container)"},
    {"mmap", EAGAIN, "this process locks its memory (mlockall); raise the limit of locked memory: ulimit -l"},
    {"", EMFILE,
     "raise the limit of open files: ulimit -n, LimitNOFILE= of a unit, --ulimit nofile= of a container; or use fewer "
     "queues and sessions"},
    {"", ENFILE, "no more files can be open on this system: raise sysctl fs.file-max, or end what has many open"},
    {"", ENOMEM, "there is no memory left: free some, or raise memory.max (--memory of a container)"},
    {"", ENOBUFS, "there is no memory left: free some, or raise memory.max (--memory of a container)"},
    {"", EDQUOT, "the quota of this user is used up: remove files, or raise it"},
    {"", EROFS, "that file system is read-only; mount it writable, or choose another place"},
    {"", ENOSYS, "the kernel or a seccomp profile does not know the call; libipcq needs Linux 5.3 and its calls"},
};

// Names the process, because a client may show the text of an error of its broker.
std::string limit_text(decltype(RLIMIT_NOFILE) resource, const char* what) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return {};
  return "process " + std::to_string(::getpid()) + " is limited to " + std::to_string(limit.rlim_cur) + what;
}

}  // namespace

std::span<const Remedy> remedies() noexcept { return kRemedies; }

std::string_view remedy_for(std::string_view call, int code) noexcept {
  for (const Remedy& r : kRemedies) {
    if (r.code == code && (r.call == call || r.call.empty())) return r.sentence;
  }
  return {};
}

std::string shortage_text(std::string_view call, int code) {
  if (code == EMFILE) return limit_text(RLIMIT_NOFILE, " open files");
  if (code == EFBIG) return limit_text(RLIMIT_FSIZE, " bytes a file");
  if (code == EAGAIN && call == "pthread_create") return limit_text(RLIMIT_NPROC, " processes and threads of its user");
  if (code == ENOMEM && call == "mmap") return limit_text(RLIMIT_AS, " bytes of address space");
  return {};
}

void throw_system(int code, const std::string& call, const std::string& object, const std::string& detail) {
  char buffer[128];
  std::string text = object + ": " + call + " failed: " + strerror_r(code, buffer, sizeof buffer);
  std::string more;
  for (const std::string& part : {detail, shortage_text(call, code), std::string(remedy_for(call, code))}) {
    if (!part.empty()) more += (more.empty() ? "" : "; ") + part;
  }
  if (!more.empty()) text += " (" + more + ")";
  if (code == EACCES || code == EPERM) throw PermissionError(text);
  throw SystemError(code, text);
}

}  // namespace ipcq::detail
