// What a handler's library, which ipcq_add_handler() has built ahead, says of itself: a section of its ELF file, which
// ipcq-compiler reads before anything loads the file. The kernels are a section beside it, one fat binary.
//
// Plain data, the same for all releases: it is what tells them apart. Texts end with a zero.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ipcq::detail {

struct HandlerStamp {
  std::uint64_t magic;     // kHandlerStampMagic
  std::uint32_t abi;       // kAbiVersion
  std::uint32_t reserved;  // 0
  char version[32];        // of ipcq
  char host_code[32];      // which code the host's part was compiled with (cmake/IpcqDeviceCode.cmake)
  char device_code[32];    // the same for the kernels
  char host_compiler[32];
  char device_compiler[32];
  char architectures[208];  // what the fat binary holds: "sm_80 sm_90 compute_90"; empty: there is none
};
static_assert(sizeof(HandlerStamp) == 384 && offsetof(HandlerStamp, version) == 16 &&
              offsetof(HandlerStamp, architectures) == 176);

inline constexpr std::uint64_t kHandlerStampMagic = 0x314c444851435049;  // "IPCQHDL1"
inline constexpr const char* kHandlerStampSection = ".ipcq_handler";
inline constexpr const char* kHandlerFatbinSection = ".ipcq_fatbin";

}  // namespace ipcq::detail
