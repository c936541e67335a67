// A broker's counters as JSON for machines and as tables for people.
#pragma once

#include <ipcq/stats.hpp>
#include <string>

#include "common/json.hpp"

namespace ipcq::program {

Json to_json(const QueueStats& queue);
Json to_json(const BrokerStats& broker);

// Tables, each line ended. `only`: name of the one queue to show; empty: all.
std::string to_text(const QueueStats& queue);
std::string to_text(const BrokerStats& broker, const std::string& only = {});

}  // namespace ipcq::program
