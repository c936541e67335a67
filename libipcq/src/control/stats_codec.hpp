// Statistics as the bytes of an answer, in which the broker sends them to a client. Pure functions, thread-safe.
#pragma once

#include <string>

#include "ipcq/stats.hpp"

namespace ipcq::detail {

std::string encode(const BrokerStats& stats);
// Throws LayoutError when the text is not what encode() makes.
BrokerStats decode_stats(const std::string& text);

}  // namespace ipcq::detail
