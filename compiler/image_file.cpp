#include "image_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "program/exit_code.hpp"

namespace ipcq::compiler {

void write_file(const std::string& path, std::string_view bytes) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  const bool whole = !std::filesystem::exists(status) || std::filesystem::is_regular_file(status);
  const std::string target = whole ? fmt::format("{}.{}", path, ::getpid()) : path;
  std::ofstream file(target, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  const int why = errno;
  std::error_code error;
  if (file && whole) std::filesystem::rename(target, path, error);
  if (file && !error) return;
  if (whole) std::filesystem::remove(target, ignored);
  throw program::Failure(
      program::kFailure,
      fmt::format("cannot write '{}' ({}): is there such a folder, and room and permission to write?", path,
                  std::strerror(error ? error.value() : why)));
}

bool write_descriptor(int fd, std::string_view bytes) noexcept {
  while (::ftruncate(fd, static_cast<off_t>(bytes.size())) != 0) {
    if (errno != EINTR) return false;
  }
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t count = ::pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (count < 0 && errno != EINTR) return false;
    if (count > 0) done += static_cast<std::size_t>(count);
  }
  return true;
}

std::optional<std::string> read_descriptor(int fd) {
  struct stat file {};
  if (::fstat(fd, &file) != 0) return {};
  std::string bytes(static_cast<std::size_t>(file.st_size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (count == 0) break;  // it has become shorter
    if (count < 0 && errno != EINTR) return {};
    if (count > 0) done += static_cast<std::size_t>(count);
  }
  bytes.resize(done);
  return bytes;
}

}  // namespace ipcq::compiler
