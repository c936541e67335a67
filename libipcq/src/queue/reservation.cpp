#include "queue/reservation.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>

#include "base/os.hpp"
#include "base/system_error.hpp"

namespace ipcq::detail {
namespace {

// The kernel clears 16 MiB in about 10 ms, 4 KiB in about 1 us: no timer interrupts every call for the smallest piece.
constexpr std::uint64_t kLargestPiece = 16u << 20;
constexpr std::uint64_t kLeastPiece = 4096;
constexpr unsigned kGrowAfter = 8;  // pieces in a row that were not interrupted

std::string shm_space_text(std::uint64_t needed) {
  struct statvfs fs {};
  std::string text = format_bytes(needed) + " are needed";
  if (::statvfs(kShmDirectory, &fs) == 0) {
    text += ", " + format_bytes(std::uint64_t{fs.f_bavail} * fs.f_frsize) + " of " +
            format_bytes(std::uint64_t{fs.f_blocks} * fs.f_frsize) + " are free in " + kShmDirectory;
  }
  return text;
}

// The errno with which the reservation must fail, known without taking a page; 0: none is known.
int foreseeable_error(std::uint64_t bytes) noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && bytes > limit.rlim_cur) return EFBIG;
  struct statvfs fs {};
  if (::statvfs(kShmDirectory, &fs) != 0 || fs.f_blocks == 0) return 0;  // no limit
  return bytes > std::uint64_t{fs.f_bavail} * fs.f_frsize ? ENOSPC : 0;
}

int reserve_in_pieces(int fd, std::uint64_t bytes) noexcept {
  std::uint64_t piece = kLargestPiece;
  unsigned uninterrupted = 0;
  for (std::uint64_t done = 0; done < bytes;) {
    const std::uint64_t length = std::min(piece, bytes - done);
    const int error = ::posix_fallocate(fd, static_cast<off_t>(done), static_cast<off_t>(length));
    if (error == EINTR) {
      piece = std::max(piece / 2, kLeastPiece);
      uninterrupted = 0;
      continue;
    }
    if (error != 0) return error;
    done += length;
    if (++uninterrupted < kGrowAfter) continue;
    piece = std::min(piece * 2, kLargestPiece);
    uninterrupted = 0;
  }
  return 0;
}

}  // namespace

void reserve(int fd, std::uint64_t bytes, const std::string& object) {
  int error = foreseeable_error(bytes);
  if (error == 0) error = reserve_in_pieces(fd, bytes);
  if (error != 0) throw_system(error, "posix_fallocate", object, shm_space_text(bytes));
}

std::string shm_inodes_text() {
  struct statvfs fs {};
  if (::statvfs(kShmDirectory, &fs) != 0 || fs.f_files == 0) return {};
  return std::to_string(fs.f_ffree) + " of " + std::to_string(fs.f_files) + " inodes are free in " + kShmDirectory;
}

}  // namespace ipcq::detail
