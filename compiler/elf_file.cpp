#include "elf_file.hpp"

#include <elf.h>

#include <cstring>

#include <fmt/format.h>

#include "program/exit_code.hpp"

// The linker's: the first bytes of this program, which is for this machine.
extern "C" const Elf64_Ehdr __ehdr_start;  // NOLINT(readability-identifier-naming,bugprone-reserved-identifier)

namespace ipcq::compiler {
namespace {

// Whatever its alignment.
template <class T>
T copy_of(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

}  // namespace

void ElfFile::refuse(const std::string& why) const {
  throw program::Failure(program::kFailure, fmt::format("'{}' {}", name_, why));
}

std::string_view ElfFile::part(std::uint64_t offset, std::uint64_t bytes, const char* what) const {
  if (offset > bytes_.size() || bytes > bytes_.size() - offset) {
    refuse(fmt::format("is damaged: {} lies beyond its end; build it again", what));
  }
  return bytes_.substr(offset, bytes);
}

ElfFile::ElfFile(const std::string& name, std::string_view bytes, Kind kind) : name_(name), bytes_(bytes) {
  const std::string is_none = kind == Kind::shared ? "is no shared object" : "is no object file";
  const std::string remedy =
      kind == Kind::shared ? "; build it by ipcq_add_handler()" : "; compile it (-c), for this machine";
  if (!bytes.starts_with(std::string_view(ELFMAG, SELFMAG))) {
    refuse(is_none + ": it does not begin as an ELF file" + remedy);
  }
  const auto head = copy_of<Elf64_Ehdr>(part(0, sizeof(Elf64_Ehdr), "its header"));
  const Elf64_Ehdr& here = __ehdr_start;
  if (head.e_ident[EI_CLASS] != here.e_ident[EI_CLASS] || head.e_ident[EI_DATA] != here.e_ident[EI_DATA] ||
      head.e_machine != here.e_machine) {
    refuse(fmt::format("is for another machine (ELF machine {}, and this is {}); build it for this one", head.e_machine,
                       here.e_machine));
  }
  if (head.e_type != (kind == Kind::shared ? ET_DYN : ET_REL)) {
    refuse(is_none + ", but another kind of ELF file" + remedy);
  }
}

std::string_view ElfFile::section(std::string_view name) const {
  const auto head = copy_of<Elf64_Ehdr>(bytes_);
  if (head.e_shnum == 0) return {};
  if (head.e_shentsize != sizeof(Elf64_Shdr)) refuse("is damaged: its table of sections has no such entries");
  const std::string_view table = part(head.e_shoff, std::uint64_t{head.e_shnum} * sizeof(Elf64_Shdr), "a section");
  const auto entry = [&](std::size_t i) { return copy_of<Elf64_Shdr>(table.substr(i * sizeof(Elf64_Shdr))); };
  if (head.e_shstrndx >= head.e_shnum) refuse("is damaged: its sections have no names; build it again");
  const Elf64_Shdr of_names = entry(head.e_shstrndx);
  const std::string_view names = part(of_names.sh_offset, of_names.sh_size, "the sections' names");
  for (std::size_t i = 0; i < head.e_shnum; ++i) {
    const Elf64_Shdr section = entry(i);
    if (section.sh_type == SHT_NOBITS || section.sh_name >= names.size()) continue;
    const std::string_view rest = names.substr(section.sh_name);
    if (rest.substr(0, rest.find('\0')) == name) return part(section.sh_offset, section.sh_size, "a section");
  }
  return {};
}

}  // namespace ipcq::compiler
