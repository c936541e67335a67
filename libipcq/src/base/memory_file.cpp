#include "base/memory_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

constexpr std::size_t kPart = 1 << 20;  // bytes that are copied at once

// Repeats a call of read or write until it has done all, or 0 bytes. Returns what is done; -1: it failed, as errno
// says.
template <class Call>
ssize_t all_of(std::size_t bytes, Call call) {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t n = call(done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return static_cast<ssize_t>(done);
}

void write_at(int memory_file, const std::byte* from, std::size_t bytes, std::uint64_t at, const std::string& object) {
  const ssize_t n = all_of(bytes, [&](std::size_t done) {
    return ::pwrite(memory_file, from + done, bytes - done, static_cast<off_t>(at + done));
  });
  if (n < 0) throw_system(errno, "pwrite", object);
}

// Removes the file unless it has got its name.
struct Unfinished {
  std::string path;
  ~Unfinished() {
    if (!path.empty()) ::unlink(path.c_str());
  }
};

}  // namespace

Fd make_memory_file(std::uint64_t bytes, const std::string& object) {
  Fd fd(::memfd_create("ipcq-state", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) throw_system(errno, "memfd_create", object);
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) throw_system(errno, "ftruncate", object);
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    throw_system(errno, "fcntl(F_ADD_SEALS)", object);
  }
  return fd;
}

bool freeze(int memory_file) noexcept { return ::fcntl(memory_file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) == 0; }

std::uint64_t size_of(int file, const std::string& object) {
  struct stat s {};
  if (::fstat(file, &s) != 0) throw_system(errno, "fstat", object);
  return static_cast<std::uint64_t>(s.st_size);
}

void write_at_begin(int memory_file, const std::string& text, const std::string& object) {
  write_at(memory_file, reinterpret_cast<const std::byte*>(text.data()), text.size(), 0, object);
}

bool is_all_zero(int memory_file) noexcept { return ::lseek(memory_file, 0, SEEK_DATA) < 0 && errno == ENXIO; }

MappedFile::MappedFile(int file, std::uint64_t bytes, For use, const std::string& object) : bytes_(bytes) {
  if (size_of(file, object) < bytes) throw_system(ENODATA, "fstat", object);
  const bool writes = use == For::writing;
  // A frozen file can be mapped as private alone (Linux before 6.7).
  void* const mapped =
      ::mmap(nullptr, bytes, writes ? PROT_READ | PROT_WRITE : PROT_READ, writes ? MAP_SHARED : MAP_PRIVATE, file, 0);
  if (mapped == MAP_FAILED) throw_system(errno, "mmap", object);
  data_ = static_cast<std::byte*>(mapped);
}

MappedFile::~MappedFile() { ::munmap(data_, bytes_); }

void read_into(int memory_file, std::uint64_t bytes, const std::string& path, const std::string& object) {
  const std::string what = object + ": state file '" + printable(path) + "'";
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO does not hold it up
  struct stat s {};
  if (!file && errno == ENOENT) throw NotFoundError(what + ": there is no such file");
  if (!file) throw_system(errno, "open(O_RDONLY)", what);
  if (::fstat(file.get(), &s) != 0) throw_system(errno, "fstat", what);
  if (!S_ISREG(s.st_mode)) throw UsageError(what + ": is no regular file; name one that has the state's bytes");
  if (static_cast<std::uint64_t>(s.st_size) > bytes) {
    throw UsageError(what + ": has " + std::to_string(s.st_size) + " bytes, the state " + std::to_string(bytes) +
                     "; name a file of at most that size, or create the queue with more state");
  }
  const auto part = std::make_unique<std::byte[]>(kPart);
  for (std::uint64_t at = 0; at < bytes;) {
    const std::size_t most = std::min<std::uint64_t>(kPart, bytes - at);
    const ssize_t n =
        all_of(most, [&](std::size_t done) { return ::read(file.get(), part.get() + done, most - done); });
    if (n < 0) throw_system(errno, "read", what);
    if (n == 0) return;
    write_at(memory_file, part.get(), static_cast<std::size_t>(n), at, what);
    at += static_cast<std::uint64_t>(n);
  }
}

void write_out(int memory_file, const std::string& path, const std::string& object) {
  const std::string what = object + ": state file '" + printable(path) + "'";
  // The rename would replace anything but a directory.
  struct stat there {};
  if (::lstat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode) && !S_ISDIR(there.st_mode)) {
    throw UsageError(what + ": is no regular file; name a new file, or one to be replaced");
  }
  Unfinished made{path + ".XXXXXX"};
  const Fd file(::mkostemp(made.path.data(), O_CLOEXEC));
  if (!file) {
    const int why = errno;
    made.path.clear();
    throw_system(why, "open", what);
  }
  const auto part = std::make_unique<std::byte[]>(kPart);
  for (std::uint64_t at = 0;;) {
    const ssize_t n = all_of(kPart, [&](std::size_t done) {
      return ::pread(memory_file, part.get() + done, kPart - done, static_cast<off_t>(at + done));
    });
    if (n < 0) throw_system(errno, "pread", what);
    if (n == 0) break;
    const auto got = static_cast<std::size_t>(n);
    const ssize_t written =
        all_of(got, [&](std::size_t done) { return ::write(file.get(), part.get() + done, got - done); });
    if (written < 0) throw_system(errno, "write", what);
    at += got;
  }
  if (::fsync(file.get()) != 0) throw_system(errno, "fsync", what);
  if (::rename(made.path.c_str(), path.c_str()) != 0) throw_system(errno, "rename", what);
  made.path.clear();
}

}  // namespace ipcq::detail
