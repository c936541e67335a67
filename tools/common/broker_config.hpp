// Configuration of ipcq-broker from TOML:
//
//   name = "default"
//   group = "video"            # Unix group that may attach
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
//   group = ["default", "preview:lossy"]
//   executor = "stream"        # with backend = "cuda": device, mirror, host_readable = true | false, executor
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/queue_spec.hpp"

namespace ipcq::program {

struct BrokerConfig {
  std::optional<std::string> name;
  std::optional<std::string> unix_group;
  std::optional<double> drain_seconds;
  std::optional<std::string> backend;
  std::vector<PoolSpec> pools;
  std::vector<QueueSpec> queues;

  // Takes from `other` what is not set here. Queues and pools: those whose names are new.
  void fill_from(const BrokerConfig& other);
};

// One source may not say two things of one pool or queue: throws UsageError naming both. Between sources the first
// wins.
void refuse_duplicates(const BrokerConfig& config, std::string_view source);

// `source` is named in errors. Throws UsageError, also for what cannot be read as a file.
BrokerConfig parse_broker_config(std::string_view text, const std::string& source);
BrokerConfig read_broker_config(const std::string& path);

// Per-user file before the system's, each where it exists: $XDG_CONFIG_HOME/ipcq/broker.toml, /etc/ipcq/broker.toml.
std::vector<std::string> default_config_paths();

// IPCQ_* variables as a configuration: IPCQ_BROKER, IPCQ_UNIX_GROUP, IPCQ_DRAIN_SECONDS, IPCQ_BACKEND, and IPCQ_QUEUES
// and IPCQ_POOLS, whose specs are separated by spaces.
BrokerConfig environment_config();

}  // namespace ipcq::program
