// Variables of the environment.
#pragma once

#include <cstdlib>
#include <string>

namespace ipcq::compiler {

// Empty: the variable is not set, or empty.
inline std::string environment(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr ? value : "";
}

}  // namespace ipcq::compiler
