// Formats a broker's counters as JSON and as tables. Thread-safe.
#pragma once

#include <ipcq/stats.hpp>
#include <string>

#include "program/json.hpp"

namespace ipcq::program {

Json to_json(const QueueStats& queue);
Json to_json(const BrokerStats& broker);

// Tables; each line ends with a newline. `only`: the name of the one queue to show; empty: all queues.
std::string to_text(const QueueStats& queue);
std::string to_text(const BrokerStats& broker, const std::string& only = {});

}  // namespace ipcq::program
