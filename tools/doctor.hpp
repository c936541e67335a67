// ipcq doctor: whether this machine has what libipcq needs, and what to do where it has not.
#pragma once

#include <string>
#include <vector>

namespace ipcq::program {

struct Finding {
  enum class Level : unsigned char { ok, warn, fail };
  Level level = Level::ok;
  std::string subject;
  std::string text;
  std::string remedy;  // empty when nothing is to be done
};

std::vector<Finding> examine();

// Prints the findings; exit code 1 when one of them is a failure.
int doctor_command(bool json);

}  // namespace ipcq::program
