// Prints findings, as `ipcq doctor` does.
#pragma once

#include <vector>

#include "program/finding.hpp"

namespace ipcq::program {

// As a table, or as one JSON object. Returns the exit code: 1 if one of them is a failure, else 0.
int report_findings(const std::vector<Finding>& findings, bool json);

}  // namespace ipcq::program
