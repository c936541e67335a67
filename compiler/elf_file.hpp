// A shared or relocatable object as bytes: whether it is one for this machine, and what its sections hold. Nothing is
// loaded or run, and whatever the file says is held against its length.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ipcq::compiler {

class ElfFile {
 public:
  enum class Kind { shared, object };
  // `bytes` must outlive it. Throws program::Failure, whose text begins with `name`: no ELF file, for another machine,
  // none of that kind, or damaged.
  ElfFile(const std::string& name, std::string_view bytes, Kind kind = Kind::shared);

  // What the first section of that name holds; empty: there is none. Throws as above.
  std::string_view section(std::string_view name) const;

 private:
  [[noreturn]] void refuse(const std::string& why) const;
  // Throws where it is not all within the file.
  std::string_view part(std::uint64_t offset, std::uint64_t bytes, const char* what) const;

  const std::string name_;
  const std::string_view bytes_;
};

}  // namespace ipcq::compiler
