// The text of the UsageError that a call throws, or "(no error)".
#pragma once

#include <string>

#include "ipcq/error.hpp"

namespace ipcq::program {

template <class Function>
std::string usage_error_of(const Function& function) {
  try {
    function();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "(no error)";
}

}  // namespace ipcq::program
