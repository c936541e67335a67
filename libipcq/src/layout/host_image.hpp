// What a handler that was compiled for the host exports: one table, by which the host runner calls it. ipcq-compiler
// puts it behind the user's file (compiler/host/table.hpp); host_runner/image.cpp looks it up.
//
// Plain data. Twin of nothing in shared memory: an image and the runner that loads it are of one release, as `abi`
// says.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layout/abi.hpp"
#include "layout/handler_arguments.hpp"

namespace ipcq::detail {

enum class HandlerVerdict : std::uint32_t {
  done = 0,
  refused = 1,  // accepts() says no; the bytes are as they were
  threw = 2,    // an exception left the handler; the bytes may be changed in part
};

struct HostImage {
  std::uint32_t magic;
  std::uint32_t abi;
  // A handler with its parameters set. Null where an argument does not fit, as `report`, empty before, says; or where
  // its constructor throws.
  void* (*make)(HandlerArgument* arguments, std::uint32_t count, HandlerReport* report);
  void (*destroy)(void* handler);
  // Runs the handler over `data`, as a team of one; by any thread. Where it throws, the exception's text goes into
  // `why`, of `why_bytes` bytes, cut off and zero-terminated.
  HandlerVerdict (*run)(const void* handler, std::byte* data, std::uint64_t length, char* why, std::uint64_t why_bytes);
};
static_assert(sizeof(HostImage) == 32 && offsetof(HostImage, make) == 8 && offsetof(HostImage, run) == 24);

inline constexpr const char* kHostImageSymbol = "ipcq_host_image";

}  // namespace ipcq::detail
