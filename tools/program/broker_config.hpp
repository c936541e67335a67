// Configuration of ipcq-broker from TOML:
//
//   name = "default"
//   group = "video"            # Unix group that may attach
//   admin_group = "video"      # Unix group that may create queues; max_queues = 32, max_memory = "2GiB"
//   drain_seconds = 5
//   backend = "auto"
//   [[pool]]
//   name = "frames"
//   size = "4k-rgb"
//   slots = 16
//   [[queue]]
//   name = "raw"
//   pool = "frames"
//   handler = "invert"
//   batch = "records"
//   group = ["default", "preview:lossy"]
//   executor = "stream"        # with backend = "cuda": device, mirror, host_readable = true | false, executor
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "program/queue_spec.hpp"

namespace ipcq::program {

struct BrokerConfig {
  std::optional<std::string> name;
  std::optional<std::string> unix_group;
  std::optional<std::string> admin_group;
  std::optional<std::string> max_queues;  // a number
  std::optional<std::string> max_memory;  // a size
  std::optional<double> drain_seconds;
  std::optional<std::string> backend;
  std::vector<PoolSpec> pools;
  std::vector<QueueSpec> queues;

  // Takes from `other` all that is not set here, and the queues and pools whose names are not in this one.
  void fill_from(const BrokerConfig& other);
};

// BrokerOptions::max_queues and max_memory; 0 where nothing is said. Throw UsageError.
std::uint64_t max_queues_of(const BrokerConfig& config);
std::uint64_t max_memory_of(const BrokerConfig& config);

// Throws UsageError when one source describes a pool or a queue twice. Between sources there is no such error: the
// first one wins (fill_from()).
void refuse_duplicates(const BrokerConfig& config, std::string_view source);

// `source` names the text in errors. Both throw UsageError, the second also for a file that cannot be read. Relative
// paths in a file begin at its folder.
BrokerConfig parse_broker_config(std::string_view text, const std::string& source);
BrokerConfig read_broker_config(const std::string& path);

// Those of $XDG_CONFIG_HOME/ipcq/broker.toml and /etc/ipcq/broker.toml that exist, in this order.
std::vector<std::string> default_config_paths();

// IPCQ_* variables as a configuration: IPCQ_BROKER, IPCQ_UNIX_GROUP, IPCQ_DRAIN_SECONDS, IPCQ_BACKEND, and IPCQ_QUEUES
// and IPCQ_POOLS, whose specs are separated by spaces.
BrokerConfig environment_config();

}  // namespace ipcq::program
