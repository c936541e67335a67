// Runs `ipcq-redis doctor`, which examines a Redis or Valkey server, since `ipcq` itself has no client library for it.
#pragma once

#include <string>
#include <vector>

#include "program/finding.hpp"

namespace ipcq::program {

// `url`: the server's; empty: as IPCQ_REDIS_URL says. Throws Failure where the program cannot be run; where there is
// none, a finding says so.
std::vector<Finding> redis_findings(const std::string& url);

}  // namespace ipcq::program
