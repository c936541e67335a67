// What a queue or a pool is to be, as a client tells it to a broker that runs. The encoding goes with the ABI of the
// control socket (abi.hpp).
//
// Pure functions. Invariant: what is decoded has no number that is none of its enum's; whether the options fit together
// the broker checks as those of its own process.
#pragma once

#include <string>

#include "ipcq/options.hpp"

namespace ipcq::detail {

std::string encode(const QueueOptions& options);
std::string encode(const PoolOptions& options);
// Throw LayoutError, also for what no caller of this library can have encoded.
QueueOptions decode_queue_options(const std::string& text);
PoolOptions decode_pool_options(const std::string& text);

}  // namespace ipcq::detail
