// ipcq-redis doctor: looks whether a server can be worked with, and whether it keeps what it confirms.
#pragma once

#include <string>
#include <vector>

#include "program/finding.hpp"
#include "redis/connection.hpp"

namespace ipcq::bridge {

std::vector<program::Finding> examine(Connection& connection, const std::string& key);
int examine_command(int argc, char** argv);

}  // namespace ipcq::bridge
