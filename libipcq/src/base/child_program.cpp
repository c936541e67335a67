#include "base/child_program.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>

#include "base/os.hpp"

extern char** environ;

namespace ipcq::detail {
namespace {

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

// Folders in which the programs of this release may lie, but for those of PATH.
std::vector<std::string> folders_beside() {
  std::vector<std::string> all;
  char self[PATH_MAX];
  if (const ssize_t n = ::readlink("/proc/self/exe", self, sizeof self - 1); n > 0) {
    all.push_back(folder_of(std::string(self, static_cast<std::size_t>(n))));
  }
  Dl_info library{};
  char real[PATH_MAX];
  if (::dladdr(reinterpret_cast<const void*>(&find_program), &library) != 0 && library.dli_fname != nullptr &&
      ::realpath(library.dli_fname, real) != nullptr) {
    const std::string lib = folder_of(real);
    all.push_back(lib + "/../bin");     // build tree; installed below one lib directory
    all.push_back(lib + "/../../bin");  // installed below lib/<architecture>
  }
  return all;
}

// What dup2() in the child makes inheritable. The number differs from all that the child has, else dup2() would leave
// close-on-exec as it is.
Fd inheritable(int fd, const std::string& object) {
  Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, kChildDescriptor + 1));
  if (!copy) throw_system(errno, "dup", object);
  return copy;
}

}  // namespace

bool is_program(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

std::string find_program(const std::string& name, const char* variable) {
  if (const char* path = std::getenv(variable); path != nullptr && *path != '\0') return path;
  for (const auto& folder : folders_beside()) {
    if (is_program(folder + "/" + name)) return folder + "/" + name;
  }
  const char* const path = std::getenv("PATH");
  std::string rest = path != nullptr ? path : "";
  while (!rest.empty()) {
    const auto colon = rest.find(':');
    std::string program = rest.substr(0, colon) + "/" + name;
    if (is_program(program)) return program;
    rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
  }
  return {};
}

pid_t spawn_program(const std::string& object, const std::string& program, std::vector<std::string> arguments,
                    int descriptor, int standard_output, int standard_error) {
  const Fd third = inheritable(descriptor, object);
  const Fd out = inheritable(standard_output, object);
  const Fd err = inheritable(standard_error, object);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, third.get(), kChildDescriptor);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, err.get(), STDERR_FILENO);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, kChildDescriptor + 1);
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t all;
  ::sigfillset(&all);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string name = program.substr(program.rfind('/') + 1);
  std::vector<char*> argv{name.data()};
  for (auto& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, &attributes, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) throw_system(error, "posix_spawn", object + ": " + program);
  return pid;
}

}  // namespace ipcq::detail
