#include "state_memory.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "base/memory_file.hpp"

namespace ipcq::runner {

using namespace detail;

StateMemory::StateMemory(std::uint64_t bytes, const Fd& content, const std::string& object) : bytes_(bytes) {
  const MappedFile from(content.get(), bytes, MappedFile::For::reading, object);
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw_system(errno, "mmap", object);
  data_ = static_cast<std::byte*>(memory);
  if (!is_all_zero(content.get())) std::memcpy(data_, from.data(), bytes);
}

StateMemory::~StateMemory() { ::munmap(data_, bytes_); }

void StateMemory::save(const Fd& file, const std::string& object) const {
  const MappedFile to(file.get(), bytes_, MappedFile::For::writing, object);
  std::memcpy(to.data(), data_, bytes_);
}

void StateMemory::load(const Fd& file, const std::string& object) {
  const MappedFile from(file.get(), bytes_, MappedFile::For::reading, object);
  std::memcpy(data_, from.data(), bytes_);
}

}  // namespace ipcq::runner
