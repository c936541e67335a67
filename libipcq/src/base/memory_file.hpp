// Files in memory (memfd) of a fixed size, and their way to and from files of users.
//
// Thread safety: the functions keep no state; a MappedFile is for one thread at a time. Nobody can change the size of a
// file that make_memory_file() has made, so a process that maps it is not killed by what another does to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/os.hpp"

namespace ipcq::detail {

// Of `bytes` zeros, which take no memory until they are written. Throws SystemError with `object`.
Fd make_memory_file(std::uint64_t bytes, const std::string& object);

// From now on nobody can write to it. False: somebody has it mapped for writing, and it stays as it was.
bool freeze(int memory_file) noexcept;

std::uint64_t size_of(int file, const std::string& object);
// Writes the text to the beginning of a memory file.
void write_at_begin(int memory_file, const std::string& text, const std::string& object);

// Whether nothing was written to it yet.
bool is_all_zero(int memory_file) noexcept;

// All of a file, mapped. Throws SystemError with `object`; also where the file has less than `bytes`.
class MappedFile {
 public:
  enum class For : std::uint8_t { reading, writing };
  MappedFile(int file, std::uint64_t bytes, For use, const std::string& object);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::byte* data() const noexcept { return data_; }

 private:
  std::byte* data_ = nullptr;
  std::uint64_t bytes_;
};

// Copies the file at `path` into a memory file of `bytes`; what the file lacks stays zero. Throws UsageError: it is
// longer, or no regular file; NotFoundError, PermissionError, SystemError. All begin with `object`.
void read_into(int memory_file, std::uint64_t bytes, const std::string& path, const std::string& object);
// Writes all of a memory file to a new file beside `path`, which then takes its place: whoever reads `path` finds the
// old content or the new one. Readable and writable for this user alone. Throws PermissionError, SystemError.
void write_out(int memory_file, const std::string& path, const std::string& object);

}  // namespace ipcq::detail
