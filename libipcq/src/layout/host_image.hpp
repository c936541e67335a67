// What a handler that was compiled for the host exports: one table, by which the host runner calls it. ipcq-compiler
// puts it behind the user's file (compiler/host/table.hpp); host_runner/image.cpp looks it up.
//
// Plain data. Twin of nothing in shared memory: an image and the runner that loads it are of one release, as `abi`
// says.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ipcq/handler.hpp"
#include "layout/abi.hpp"
#include "layout/handler_arguments.hpp"

namespace ipcq::detail {

struct HostImage {
  std::uint32_t magic;
  std::uint32_t abi;
  // A handler with its parameters set, and `state` for all of its calls. Null where an argument does not fit, as
  // `report`, empty before, says; or where its constructor throws.
  void* (*make)(HandlerArgument* arguments, std::uint32_t count, State state, HandlerReport* report);
  void (*destroy)(void* handler);
  // Calls the handler for a message, as a team of one; by any thread. Where it throws, the exception's text goes into
  // `why`, of `why_bytes` bytes, cut off and zero-terminated.
  void (*run)(const void* handler, HandlerMessage& message, char* why, std::uint64_t why_bytes);
};
static_assert(sizeof(HostImage) == 32 && offsetof(HostImage, make) == 8 && offsetof(HostImage, run) == 24);

inline constexpr const char* kHostImageSymbol = "ipcq_host_image";

}  // namespace ipcq::detail
