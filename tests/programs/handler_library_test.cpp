// Libraries of handlers that were built ahead, made by hand: what ipcq-compiler takes of them, and what it says of
// those that no queue can use.
#include "handler_library.hpp"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "ipcq/version.hpp"
#include "layout/handler_stamp.hpp"
#include "program/exit_code.hpp"

// Of this program, so that files are for the machine that runs the test.
extern "C" const Elf64_Ehdr __ehdr_start;  // NOLINT(readability-identifier-naming,bugprone-reserved-identifier)

namespace ipcq::compiler {
namespace {

using detail::HandlerStamp;
using testing::HasSubstr;

struct Section {
  std::string name;
  std::string bytes;
};

template <class T>
std::string bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// Header, sections, names, table of sections.
std::string elf_file(const std::vector<Section>& sections, std::uint16_t type = ET_DYN) {
  Elf64_Ehdr head = __ehdr_start;
  head.e_type = type;
  head.e_shentsize = sizeof(Elf64_Shdr);
  head.e_shnum = static_cast<std::uint16_t>(sections.size() + 2);
  head.e_shstrndx = static_cast<std::uint16_t>(sections.size() + 1);
  std::string content, names(1, '\0'), table(sizeof(Elf64_Shdr), '\0');
  const auto add = [&](const std::string& name, const std::string& bytes) {
    Elf64_Shdr entry{};
    entry.sh_name = static_cast<Elf64_Word>(names.size());
    entry.sh_type = SHT_PROGBITS;
    entry.sh_offset = sizeof head + content.size();
    names += name + '\0';
    entry.sh_size = bytes.size();
    content += bytes;
    table += bytes_of(entry);
  };
  for (const Section& s : sections) add(s.name, s.bytes);
  Elf64_Shdr of_names{};
  of_names.sh_type = SHT_STRTAB;
  of_names.sh_offset = sizeof head + content.size();
  of_names.sh_size = names.size();
  head.e_shoff = of_names.sh_offset + names.size();
  return bytes_of(head) + content + names + table + bytes_of(of_names);
}

HandlerStamp stamp(const std::string& architectures) {
  HandlerStamp s{};
  s.magic = detail::kHandlerStampMagic;
  s.abi = kAbiVersion;
  std::strcpy(s.version, IPCQ_VERSION);
  std::strcpy(s.host_code, IPCQ_HOST_CODE);
  std::strcpy(s.device_code, IPCQ_DEVICE_CODE);
  std::strcpy(s.host_compiler, "g++ 1.2.3");
  std::strcpy(s.device_compiler, "nvcc 4.5");
  std::strcpy(s.architectures, architectures.c_str());
  return s;
}

std::string library(const HandlerStamp& s) {
  return elf_file({{".text", "code"}, {".ipcq_fatbin", "kernels"}, {".ipcq_handler", bytes_of(s)}});
}

HandlerSource source(const std::string& bytes, const std::string& architecture) {
  HandlerSource s;
  s.path = "libmine.so";
  s.kind = HandlerKind::library;
  s.text = bytes;
  s.architecture = architecture;
  return s;
}

std::string refusal(const HandlerSource& s) {
  try {
    (void)image_of_library(s);
  } catch (const program::Failure& e) {
    return e.what();
  }
  return "nothing is said";
}

TEST(HandlerLibrary, GivesTheFileToTheHostAndTheFatBinaryToAGpu) {
  const std::string file = library(stamp("sm_80 sm_90 compute_90"));
  const HandlerImage for_host = image_of_library(source(file, ""));
  EXPECT_EQ(for_host.bytes, file);
  EXPECT_EQ(for_host.compiler, "g++ 1.2.3");
  const HandlerImage for_gpu = image_of_library(source(file, "sm_90"));
  EXPECT_EQ(for_gpu.bytes, "kernels");
  EXPECT_EQ(for_gpu.compiler, "nvcc 4.5");
}

TEST(HandlerLibrary, IsForGpusThatRunItsCode) {
  const auto runs = [](const std::string& code, const std::string& gpu) {
    const std::string why = refusal(source(library(stamp(code)), gpu));
    if (why == "nothing is said") return true;
    EXPECT_THAT(why, HasSubstr("'libmine.so' has no code for " + gpu + ", but for " + code + "; add "));
    return false;
  };
  EXPECT_TRUE(runs("sm_80", "sm_80"));
  EXPECT_TRUE(runs("sm_80", "sm_86"));
  EXPECT_FALSE(runs("sm_86", "sm_80"));
  EXPECT_FALSE(runs("sm_80", "sm_90"));  // of another generation
  EXPECT_TRUE(runs("sm_120 compute_80", "sm_90"));
  EXPECT_FALSE(runs("compute_90", "sm_80"));
  EXPECT_TRUE(runs("sm_90a", "sm_90"));
  EXPECT_FALSE(runs("sm_100a", "sm_103"));
  EXPECT_TRUE(runs("sm_100f", "sm_103"));
  EXPECT_FALSE(runs("compute_100f", "sm_120"));
  EXPECT_THAT(refusal(source(library(stamp("")), "sm_90")), HasSubstr("has code for the host alone"));
}

TEST(HandlerLibrary, OfAnotherReleaseIsRefused) {
  HandlerStamp s = stamp("sm_90");
  std::strcpy(s.device_code, "0123456789abcdef");
  std::strcpy(s.version, "0.0.7");
  EXPECT_THAT(refusal(source(library(s), "sm_90")),
              HasSubstr("'libmine.so' was built with another ipcq (0.0.7, ABI " + std::to_string(kAbiVersion) + ")"));
  EXPECT_EQ(image_of_library(source(library(s), "")).compiler, "g++ 1.2.3");  // its other half is sound
  s = stamp("sm_90");
  s.abi = kAbiVersion + 1;
  EXPECT_THAT(refusal(source(library(s), "")), HasSubstr("build it again with this one's CMake package"));
}

TEST(HandlerLibrary, ThatIsNoneIsRefused) {
  const auto why = [](const std::string& bytes) { return refusal(source(bytes, "")); };
  EXPECT_THAT(why(""), HasSubstr("'libmine.so' is no shared object"));
  EXPECT_THAT(why("#include <ipcq/handler.hpp>"), HasSubstr("does not begin as an ELF file"));
  EXPECT_THAT(why(elf_file({}, ET_EXEC)), HasSubstr("another kind of ELF file"));
  EXPECT_THAT(why(elf_file({{".text", "code"}})), HasSubstr("has no handler in it that ipcq_add_handler()"));
  EXPECT_THAT(why(elf_file({{".ipcq_handler", "short"}})), HasSubstr("has no handler in it"));
  std::string other = library(stamp("sm_90"));
  other[offsetof(Elf64_Ehdr, e_machine)] ^= 1;
  EXPECT_THAT(why(other), HasSubstr("is for another machine (ELF machine "));
}

// Cut off, or with any byte of its headers changed, it is taken or refused; nothing beyond its end is read.
TEST(HandlerLibrary, ThatIsDamagedIsReadWithinItsBounds) {
  const std::string whole = library(stamp("sm_90"));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const std::string text = whole.substr(0, length);
    const std::vector<char> exact(text.begin(), text.end());  // what lies behind it is found by AddressSanitizer
    const std::string why = refusal(source({exact.data(), exact.size()}, "sm_90"));
    EXPECT_NE(why, "nothing is said") << length;
  }
  const std::size_t table = whole.size() - 5 * sizeof(Elf64_Shdr);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    if (at >= sizeof(Elf64_Ehdr) && at < table) continue;
    for (const char change : {'\x01', '\x40', '\xff'}) {
      std::string text = whole;
      text[at] = static_cast<char>(text[at] ^ change);
      const std::string why = refusal(source(text, "sm_90"));
      EXPECT_TRUE(why == "nothing is said" || why.starts_with("'libmine.so' ")) << why;
    }
  }
  std::string far = whole;
  const std::uint64_t beyond = ~std::uint64_t{0} - 8;
  std::memcpy(&far[offsetof(Elf64_Ehdr, e_shoff)], &beyond, sizeof beyond);
  EXPECT_THAT(refusal(source(far, "")), HasSubstr("is damaged: a section lies beyond its end"));
}

TEST(HandlerLibrary, WithoutItsKernelsIsDamaged) {
  const std::string file = elf_file({{".ipcq_handler", bytes_of(stamp("sm_90"))}});
  EXPECT_THAT(refusal(source(file, "sm_90")), HasSubstr("is damaged: its kernels are not in it"));
}

}  // namespace
}  // namespace ipcq::compiler
