// Describes what a broker is about to create, and how much VRAM, pinned and shared memory that takes. For one thread.
#pragma once

#include <string>

#include "program/broker_config.hpp"

namespace ipcq::program {

// Lines for the log: one per pool and queue, then the sum.
std::vector<std::string> describe_plan(const BrokerConfig& config);

}  // namespace ipcq::program
