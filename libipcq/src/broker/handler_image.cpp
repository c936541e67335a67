#include "broker/handler_image.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "base/child_program.hpp"
#include "base/deadline.hpp"
#include "base/poll_until.hpp"
#include "ipcq/error.hpp"
#include "layout/handler_text.hpp"

namespace ipcq::detail {
namespace {

constexpr std::chrono::minutes kPatience{10};  // a second is usual; templates can take any time
constexpr std::size_t kMostText = 1 << 20;     // of the compiler's messages

// Exit codes of the programs (docs/reference.md).
constexpr int kNotFoundCode = 3;
constexpr int kBackendCode = 6;

struct Pipe {
  Fd reading, writing;
};
Pipe make_pipe(const std::string& object) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_system(errno, "pipe2", object);
  return {Fd(ends[0]), Fd(ends[1])};
}

// A child process, killed and reaped in the end.
class Child {
 public:
  explicit Child(pid_t pid) noexcept : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) {
      ::kill(-pid_, SIGKILL);  // with the compiler that it may have started
      (void)wait();
    }
  }
  // Its wait status; -1 where another wait() of this process has taken it.
  int wait() noexcept {
    int status = -1;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
};

enum class End : std::uint8_t { closed, cancelled, late };

// Reads both until they are closed.
End read_both(const Fd& out, const Fd& err, std::string& said, std::string& complained, int cancel) {
  const std::uint64_t deadline = deadline_after(kPatience);
  pollfd p[3] = {{out.get(), POLLIN, 0}, {err.get(), POLLIN, 0}, {cancel, POLLIN, 0}};
  std::string* const into[2] = {&said, &complained};
  while (p[0].fd >= 0 || p[1].fd >= 0) {
    if (poll_until(p, 3, deadline) <= 0) return End::late;
    if (p[2].revents != 0) return End::cancelled;
    for (int i = 0; i < 2; ++i) {
      if (p[i].fd < 0 || p[i].revents == 0) continue;
      char chunk[4096];
      const ssize_t n = ::read(p[i].fd, chunk, sizeof chunk);
      if (n > 0 && into[i]->size() < kMostText) {
        into[i]->append(chunk, static_cast<std::size_t>(n));
        if (into[i]->size() >= kMostText) *into[i] += "\n(cut off here; `ipcq handler check` shows all)";
      }
      if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) p[i].fd = -1;
    }
  }
  return End::closed;
}

std::string without_last_newline(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// What a compiler has said, below a line of ours: indented, as logs show lines that continue one.
std::string below(const std::string& said) {
  std::string text = "\n  ";
  for (const char c : without_last_newline(said)) {
    text += c == '\t' ? ' ' : c;
    if (c == '\n') text += "  ";
  }
  return text;
}

std::vector<std::string> arguments_for(const QueueOptions& o, HandlerTarget target, const Making& making) {
  std::vector<std::string> all;
  if (target.capability != 0) {
    all = {"--arch", "sm_" + std::to_string(target.capability)};
  } else {
    all = {"--host"};
  }
  all.insert(all.end(), {"--cache", "--image-fd", std::to_string(kChildDescriptor)});
  if (making.may_be_linked && target.capability != 0) all.emplace_back("--quick");
  if (!making.only_of.empty()) all.insert(all.end(), {"--only-of", making.only_of});
  if (o.state_bytes != 0) all.emplace_back("--state");
  for (const auto& d : o.defines) all.insert(all.end(), {"-D", d});
  for (const auto& i : o.includes) all.insert(all.end(), {"-I", i});
  all.insert(all.end(), {"--", split_handler(o.handler).file});
  return all;
}

[[noreturn]] void refuse(const std::string& object, bool is_source, const Making& making, int status,
                         const std::string& complained) {
  const std::string text = without_last_newline(complained), lines = below(complained);
  const bool unknown = status == -1 && text.empty();
  if (unknown || (status != -1 && !WIFEXITED(status))) {
    throw BackendError(object + ": ipcq-compiler " +
                       (unknown ? "is gone, its exit status taken by another wait() of this process"
                                : "was killed by signal " + std::to_string(WTERMSIG(status))) +
                       (text.empty() ? "; `ipcq handler check` compiles the file by itself" : ":" + lines));
  }
  if (status == -1) throw UsageError(object + ": its handler cannot be made:" + lines);
  if (WEXITSTATUS(status) == kNotFoundCode) throw NotFoundError(object + ": handler: " + text);
  if (WEXITSTATUS(status) == kBackendCode) {
    throw BackendError(object + (text.find('\n') == std::string::npos ? ": handler: " + text
                                                                      : ": its handler cannot be made:" + lines));
  }
  if (text.empty()) {
    throw BackendError(object + ": ipcq-compiler ended with exit code " + std::to_string(WEXITSTATUS(status)) +
                       " and said nothing; is IPCQ_COMPILER, or what is found in PATH, another program?");
  }
  if (!making.only_of.empty()) throw UsageError(object + ": " + text);
  throw UsageError(object + (is_source ? ": its handler does not compile:" : ": its handler cannot be used:") + lines);
}

}  // namespace

std::shared_ptr<const HandlerImage> compile_handler(const std::string& object, const QueueOptions& options,
                                                    HandlerTarget target, const Making& making, int cancel) {
  const std::string program = find_program("ipcq-compiler", "IPCQ_COMPILER");
  if (program.empty() || !is_program(program)) {
    throw BackendError(object + ": its handler, '" + printable(options.handler) +
                       "', is to be compiled, and there is no ipcq-compiler " +
                       (program.empty() ? "beside this program or libipcq, nor in PATH" : "at '" + program + "'") +
                       "; install it, or set IPCQ_COMPILER to it");
  }
  struct stat source {};
  if (::stat(split_handler(options.handler).file.c_str(), &source) == 0 && !S_ISREG(source.st_mode)) {
    throw UsageError(object + ": handler '" + printable(options.handler) +
                     "' is no regular file; name the file of a handler");
  }
  auto image = std::make_shared<HandlerImage>();
  image->file = Fd(::memfd_create("ipcq-handler", MFD_CLOEXEC));
  if (!image->file) throw_system(errno, "memfd_create", object);
  Pipe out = make_pipe(object);
  Pipe err = make_pipe(object);
  Child child(spawn_program(object, program, arguments_for(options, target, making), image->file.get(),
                            out.writing.get(), err.writing.get()));
  out.writing.reset();
  err.writing.reset();
  std::string complained;
  switch (read_both(out.reading, err.reading, image->said, complained, cancel)) {
    case End::closed:
      break;
    case End::cancelled:
      throw BackendError(object + ": the compilation of its handler was given up, since the broker stops");
    case End::late:
      throw BackendError(object + ": its handler, '" + printable(options.handler) + "', did not compile within " +
                         std::to_string(kPatience.count()) + " minutes: is there a template without an end in it?");
  }
  const int status = child.wait();
  // What it says comes after the image. So where this process leaves its children's exit status to nobody, that will
  // do.
  if (status != 0 && (status != -1 || image->said.empty())) {
    refuse(object, is_source_file(split_handler(options.handler).file), making, status, complained);
  }
  struct stat made {};
  if (::fstat(image->file.get(), &made) != 0 || made.st_size == 0) {
    throw BackendError(object + ": ipcq-compiler (" + program + ") made no image, and does not say why");
  }
  image->said = without_last_newline(image->said);
  if (const auto at = image->said.rfind(kLinkedOnly); at != std::string::npos) {
    image->linked_key = image->said.substr(at + kLinkedOnly.size());
    image->said.resize(at + kLinkedOnly.find(';'));
  }
  if (!complained.empty()) image->warned = below(complained);
  return image;
}

}  // namespace ipcq::detail
