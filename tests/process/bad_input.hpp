// A broker's segments, for tests that damage them or send their broker bad input.
#pragma once

#include <string>
#include <vector>

#include "errors.hpp"
#include "process/peers.hpp"

namespace ipcq_test {

class BadInput : public ProcessTest {
 protected:
  std::vector<std::string> segments() const {
    for (const auto& e : list_brokers()) {
      if (e.name == name_) return e.segments;
    }
    return {};
  }
  std::string segment_of(const char* kind) const {
    for (const auto& s : segments()) {
      if (s.find(std::string("+") + kind + "+") != std::string::npos) return s;
    }
    ADD_FAILURE() << "no segment of kind " << kind;
    return {};
  }
};

}  // namespace ipcq_test
