// What a handler has made of a message, as its `out` line says it; for executors on the host and on a GPU.
#pragma once

#include <cstdint>

#include "ipcq/handler.hpp"
#include "layout/line_format.hpp"

namespace ipcq::detail {

struct Verdict {
  std::uint32_t flags = 0;  // LineFlag
  std::uint32_t code = 0;   // of a failure, 0: none was given. Takes the place of the priority in the line
};

// `outcome`: HandlerMessage::outcome.
IPCQ_HOST_DEVICE constexpr Verdict verdict_of(std::uint32_t outcome) {
  if (outcome == 0) return {};
  if (outcome == kRefusedOutcome) return {kNotProcessed, 0};
  if (outcome == kDroppedOutcome) return {kFiltered, 0};
  return {kNotProcessed | kHandlerFailed, outcome <= kMostFailureCode ? outcome : 0};
}

}  // namespace ipcq::detail
